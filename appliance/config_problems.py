"""What is wrong with a configuration, in sentences: the line, the setting, what is expected, what was found.

A secret may have been written where it does not belong, so that what smells of one is never repeated.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from appliance.config_text import Location, Text

LONGEST = 60
"""So many characters of a text are repeated."""

HIDDEN = "something that is not shown here"

_SECRET_NAME = re.compile(r"token|secret|pass|credential|auth|bearer|key|pin$", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[\w+=~-]{20,}", re.ASCII)


class Wrong(ValueError):
    """What a check of several settings found: the setting below where the check stands, and a sentence."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(sentence for _, sentence in problems))
        self.problems = problems


def problems(text: Text, model: type[BaseModel]) -> list[str]:
    """Everything that keeps a text from being settings of this kind: sentences, in the order of the text.

    Checks of several settings run only where each by itself is right: so what is wrong is taken out, and what
    is left looked at again, until nothing is.
    """
    found = [_Problem(line, place, "is there twice, keep one") for place, line in text.twice.items()]
    left = text.values
    while True:
        try:
            model.model_validate(left)
            break
        except ValidationError as error:
            details = error.errors()
        told = {one.setting for one in found}
        for detail in details:
            # What is missing now was wrong before, and was taken out.
            if detail["type"] != "missing" or _location(detail) not in told:
                found += _of(detail, text.lines, model)
        if any(not detail["loc"] for detail in details):
            break
        for detail in details:
            left = _without(left, _location(detail), model)
    return [one.sentence() for one in sorted(dict.fromkeys(found), key=lambda one: one.line)]


@dataclass(frozen=True, slots=True)
class _Problem:
    """`line` is 0 where the setting is not in the text."""

    line: int
    setting: Location
    what: str

    def sentence(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        end = "" if self.what.endswith("?") else "."
        return f"{place}{'.'.join(self.setting)}: {self.what}{end}"


def _location(detail: ErrorDetails) -> Location:
    return tuple(str(part) for part in detail["loc"] if not isinstance(part, int))


def _without(values: Mapping[str, Any], location: Location, model: type[BaseModel]) -> Mapping[str, Any]:
    """The values without one setting; for one that has to be there, with something that is right."""
    name, below = location[0], location[1:]
    inner = values.get(name)
    if isinstance(inner, dict) and below and below[0] in inner:
        return {**values, name: _without(inner, below, model)}
    field = model.model_fields.get(name)
    rest = {key: value for key, value in values.items() if key != name}
    # Every setting without a default is a path.
    return {**rest, name: f"/.{name}"} if field is not None and field.is_required() else rest


def _of(detail: ErrorDetails, lines: Mapping[Location, int], model: type[BaseModel]) -> Iterator[_Problem]:
    location = _location(detail)
    wrong = detail["ctx"]["error"] if detail["type"] == "value_error" else None
    if isinstance(wrong, Wrong):
        for setting, what in wrong.problems:
            yield _Problem(_line((*location, setting), lines), (*location, setting), what)
    else:
        yield _Problem(_line(location, lines), location, _expectation(detail, location, model))


def _line(location: Location, lines: Mapping[Location, int]) -> int:
    """Where a setting is, or should be."""
    return max((lines.get(location[:n], 0) for n in range(1, len(location) + 1)), default=0)


def _expectation(detail: ErrorDetails, location: Location, model: type[BaseModel]) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return "is missing and has no default"
    if kind == "extra_forbidden":
        near = nearest(location[-1], _section(model, location[:-1]).model_fields)
        return "there is no such setting" + near
    if kind == "value_error":
        return f"{context['error']}{'' if isinstance(value, list) else _found(value, location)}"
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        return expected(words, value, location)
    return f"expected {_expected(kind, context, location, model)}{_found(value, location)}"


_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_type": "a text",
    "string_too_short": "at least {min_length} characters",
    "path_type": "an absolute path",
    "tuple_type": "a list such as [a, b]",
    "too_short": "a list with at least one item",
    "dict_type": "pairs such as {{gantry_tilt: skipped}}",
}
"""What pydantic's kinds of errors expect, those that the settings can have."""


def _expected(kind: str, context: Mapping[str, Any], location: Location, model: type[BaseModel]) -> str:
    if kind in ("model_type", "model_attributes_type"):
        return f"settings of its own ({', '.join(_section(model, location).model_fields)})"
    if kind == "string_too_short" and context["min_length"] == 1:
        return "a text"
    return _EXPECTED.get(kind, "another kind of value").format(**context)


def expected(words: Sequence[str], value: object, location: Location) -> str:
    """That one of these words is expected, what was found, and the word that is near."""
    return f"expected {_or(words)}{_found(value, location)}{nearest(value, words)}"


def nearest(word: object, known: Iterable[str]) -> str:
    """`; did you mean …?` where a known word is near."""
    near = difflib.get_close_matches(word.lower(), known, n=1) if isinstance(word, str) else []
    return f"; did you mean {near[0]}?" if near else ""


def _or(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _found(value: object, location: Location) -> str:
    """What was found, as YAML writes it, unless it may be a secret."""
    return f", found {_shown(value, location)}"


def _shown(value: object, location: Location) -> str:
    match value:
        case None | {}:
            return "nothing" if not value else "settings"
        case list() | tuple():
            return "a list"
        case bool():
            return str(value).lower()
        case float() if not math.isfinite(value):
            return f".{value}"
    text = str(value)
    if _may_be_secret(text, location):
        return HIDDEN
    text = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    return repr(text) if isinstance(value, str) else text


def without_secrets(command: Sequence[str]) -> list[str]:
    """A command as it may be shown: without arguments that smell of a secret, or whose option does."""
    program, *arguments = command
    return [
        program,
        *(
            HIDDEN if _may_be_secret(argument, (_option(before, argument),)) else argument
            for before, argument in pairwise(("", *arguments))
        ),
    ]


def _option(before: str, argument: str) -> str:
    """What an argument is the value of: `--name value`, `--name=value`, `name=value`."""
    if "=" in argument:
        return argument.partition("=")[0]
    return before if before.startswith("-") and "=" not in before else ""


def _may_be_secret(text: str, location: Location) -> bool:
    return any(map(_SECRET_NAME.search, location)) or _SECRET_TEXT.search(text) is not None


def _section(model: type[BaseModel], location: Location) -> type[BaseModel]:
    """The settings that lie at a place, or around it."""
    for name in location:
        field = model.model_fields.get(name)
        inner = None if field is None else _model_in(field.annotation)
        if inner is None:
            break
        model = inner
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return None
