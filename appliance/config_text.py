"""YAML as settings: the values, and where each setting stands in the text."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml

Location = tuple[str, ...]


class NotYaml(Exception):
    """The text cannot be taken apart; the message is a part of a sentence, `line` is 0 where unknown."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


@dataclass(frozen=True, slots=True)
class Text:
    """`lines` has the line of each setting, from 1; `twice` of those that are there again."""

    values: Any
    lines: dict[Location, int] = field(default_factory=dict)
    twice: dict[Location, int] = field(default_factory=dict)


def read(text: str) -> Text:
    """The values in a YAML text, and the lines of their settings. Raises NotYaml."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        found = Text(None if node is None else loader.construct_document(node))
        _note_lines(node, (), found, set())
    except yaml.reader.ReaderError as error:
        line = 0 if error.position is None else text.count("\n", 0, error.position) + 1
        raise NotYaml(line, str(error.reason)) from error
    except yaml.MarkedYAMLError as error:
        if "<stream end>" in str(error.problem) and error.context_mark is not None:
            raise NotYaml(error.context_mark.line + 1, "what begins here has no end") from error
        line = 0 if error.problem_mark is None else error.problem_mark.line + 1
        raise NotYaml(line, _without_quotes(error)) from error
    except RecursionError as error:
        raise NotYaml(0, "it is nested too deeply") from error
    return found


class _Loader(yaml.SafeLoader):
    """A setting's name is the text that is written: YAML 1.1 reads `on`, `1` and dates otherwise."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(None, None, "a tag does not fit", node.start_mark)
        values: dict[Hashable, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a setting's name must be a word", key.start_mark
                )
            values[str(key.value)] = self.construct_object(value, deep=deep)
        return values

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise yaml.constructor.ConstructorError(
                None, None, "a value that looks like a number or a date is none: quote it", node.start_mark
            ) from error


# Nothing else is the value of any setting, whatever tag it carries.
_Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
}
# A date is no value of any setting, and a text that looks like one must not become anything else.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _without_quotes(error: yaml.MarkedYAMLError) -> str:
    """What the parser says, without what it quotes: a secret may begin with a sign of YAML's."""
    why = str(error.problem)
    if isinstance(error, yaml.composer.ComposerError) and "alias" in why:
        return "a text that begins with * must be in quotes"
    if "tag" in why:
        return "a text that begins with ! must be in quotes"
    if "anchor" in why:
        return "a text that begins with & must be in quotes"
    if "another document" in why:
        return "one document is expected, and --- begins another"
    return re.sub(r" '(?![<\\])[^']{3,}'", "", why)


def _note_lines(node: yaml.Node | None, at: Location, text: Text, above: set[int]) -> None:
    """An alias may lie in itself: each node is looked at once."""
    if not isinstance(node, yaml.MappingNode) or id(node) in above:
        return
    above.add(id(node))
    here: set[str] = set()
    for key, value in node.value:
        location = (*at, str(key.value))
        lines = text.twice if location[-1] in here else text.lines
        lines[location] = key.start_mark.line + 1
        here.add(location[-1])
        _note_lines(value, location, text, above)
