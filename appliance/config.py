"""The configuration: one YAML file, validated whole at start, all errors at once.

Every error names the line, the setting, what was found and what is expected.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from appliance.intake.completeness import Pace
from appliance.reasons import MOVABLE, Outcome, Reason

DEFAULT_CONFIG = Path("/etc/scanlight.yaml")


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has one sentence for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _switch(value: object) -> object:
    """YAML 1.1 reads `on` and `off` as booleans."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError("must be an address and a port, such as 127.0.0.1:8080")
    return value


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Address = Annotated[str, AfterValidator(_address)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=86400, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SentinelSettings(_Section):
    """A file that the exporter writes last, and how far its word reaches."""

    glob: str = Field(min_length=1, description="file name pattern, such as *.done")
    scope: Literal["folder", "study"] = "folder"


class Completeness(_Section):
    """Quiet is clamp(k x the 95th percentile of a series' gaps, floor, ceiling)."""

    floor_s: Seconds = 1.5
    ceiling_s: Seconds = 30.0
    k: float = Field(default=4.0, strict=True, ge=1, le=100)
    sentinel: SentinelSettings | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Completeness:
        if self.floor_s > self.ceiling_s:
            raise ValueError(f"floor_s ({self.floor_s:g}) must not be above ceiling_s ({self.ceiling_s:g})")
        return self


class OperatingPoint(_Section):
    """A site's own threshold; it appears on every finding together with its reason."""

    value: float = Field(strict=True, gt=0, lt=1)
    reason: str = Field(min_length=3)


def _program(command: tuple[str, ...]) -> tuple[str, ...]:
    if not Path(command[0]).is_absolute():
        raise ValueError("must begin with the absolute path of a program")
    return command


class LampSettings(_Section):
    """A command that shows the light's state on a lamp: it is run with the state as its last argument."""

    command: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_program)]
    deadline_s: float = Field(default=5.0, strict=True, gt=0, le=30)


def _movable(reasons: dict[Reason, Outcome]) -> dict[Reason, Outcome]:
    fixed = sorted(reasons.keys() - MOVABLE)
    wrong = [
        f"{reason} can be skipped or not_analysed, not {outcome}"
        for reason, outcome in reasons.items()
        if reason in MOVABLE and outcome not in (Outcome.SKIPPED, Outcome.NOT_ANALYSED)
    ]
    if fixed:
        wrong.append(f"{', '.join(fixed)} cannot be moved; these can: {', '.join(sorted(MOVABLE))}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return reasons


class Config(_Section):
    """Everything that a site can set. Three lines are enough: export_folder, state_folder, listen."""

    export_folder: AbsolutePath = Field(description="where the scanner exports to; only ever read")
    state_folder: AbsolutePath = Field(description="journal, objects and results; on a local disk")
    listen: Address = Field(default="127.0.0.1:8080", description="the status page and the API")
    metrics_listen: Address | None = Field(default=None, description="metrics alone; default: with the page")
    results_folder: AbsolutePath | None = Field(default=None, description="default: results in state_folder")
    model: AbsolutePath | None = Field(
        default=None, description="an ONNX file or a bundle; default: built in"
    )
    engine: Literal["auto", "cpu"] = "auto"
    engine_deadline_s: Seconds = 20.0
    operating_point: OperatingPoint | None = Field(default=None, description="default: the model's own")
    completeness: Completeness = Completeness()
    rescan_s: Seconds = 10.0
    polling: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = "auto"
    backlog_h: float = Field(default=24.0, strict=True, ge=0, allow_inf_nan=False)
    workers: int = Field(default_factory=lambda: max(1, (os.cpu_count() or 2) - 1), strict=True, ge=1, le=256)
    worker_memory_mb: int = Field(default=1024, strict=True, ge=256)
    worker_timeout_s: Seconds = 5.0
    memory_budget_mb: int = Field(default=2048, strict=True, ge=64)
    tries: int = Field(default=5, strict=True, ge=1, le=100)
    retry_after_s: Seconds = 60.0
    known_answer_interval_s: Annotated[float, Field(strict=True, gt=0, le=3600)] = 3600.0
    lung_min_ml: float = Field(default=500.0, strict=True, ge=0, allow_inf_nan=False)
    axial_tolerance_deg: float = Field(default=20.0, strict=True, gt=0, le=45)
    reasons: Annotated[dict[Reason, Outcome], AfterValidator(_movable)] = Field(
        default_factory=dict, description="reason: skipped or not_analysed, for the movable ones"
    )
    label: Literal["accession_end", "accession", "none"] = Field(
        default="accession_end", description="what the page shows of a study beside its time"
    )
    keep_images_days: int = Field(default=30, strict=True, ge=0, description="images for the page; 0: none")
    lamp: LampSettings | None = Field(default=None, description="default: no lamp")
    allow_demonstration: Literal["I understand"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _apart(self) -> Config:
        for name, folder in (("state_folder", self.state_folder), ("results_folder", self.results)):
            if folder == self.export_folder or self.export_folder in folder.parents:
                raise ValueError(f"{name} must not lie in export_folder, which is only ever read")
        return self

    @property
    def results(self) -> Path:
        return self.results_folder or self.state_folder / "results"

    def pace(self, *, polling: bool) -> Pace:
        """The completeness timing; where only rescans see files, quiet is at least two of them."""
        floor = max(self.completeness.floor_s, 2 * self.rescan_s) if polling else self.completeness.floor_s
        return Pace(floor, max(floor, self.completeness.ceiling_s), self.completeness.k)


def load(path: Path) -> Config:
    """The configuration in a file; raises ConfigError with everything that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError([f"{path}: the configuration cannot be read: {reason}."]) from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Config:
    """The configuration in a YAML text; `name` stands for its file in errors."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{name}, line {line}: not valid YAML: {error.problem}."]) from error
    except (yaml.YAMLError, RecursionError) as error:
        what = error.reason if isinstance(error, yaml.reader.ReaderError) else "it is nested too deeply"
        raise ConfigError([f"{name}: not valid YAML: {what}."]) from error
    if not isinstance(values, dict):
        raise ConfigError([f"{name}: expected settings such as export_folder: /data/export."])
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = dict(_lines(node))
        problems = [_Problem.of(detail, lines) for detail in error.errors()]
        problems.sort(key=lambda problem: problem.line)
        raise ConfigError([f"{name}, {problem.sentence}" for problem in problems]) from error


class _UniqueKeys(yaml.SafeLoader):
    """YAML keeps the last of two equal keys without a word; a setting that is there twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a setting's name must be a word", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is there twice, keep one", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


Location = tuple[str, ...]


def _lines(node: yaml.Node | None, at: Location = ()) -> Iterator[tuple[Location, int]]:
    """Each setting's place in the file, from 1."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            location = (*at, str(key.value))
            yield location, key.start_mark.line + 1
            yield from _lines(value, location)


@dataclass(frozen=True, slots=True)
class _Problem:
    line: int
    sentence: str

    @classmethod
    def of(cls, error: ErrorDetails, lines: dict[Location, int]) -> _Problem:
        location = tuple(str(part) for part in error["loc"] if part != "[key]")
        line = max((lines.get(location[:n], 0) for n in range(len(location) + 1)), default=0)
        setting = ".".join(location) or "settings"
        place = f"line {line}: " if line else ""
        return cls(line, f"{place}{setting}: {_end(_expectation(error, location))}")


def _expectation(error: ErrorDetails, location: Location) -> str:
    match error["type"]:
        case "missing":
            return "is missing and has no default"
        case "extra_forbidden":
            near = difflib.get_close_matches(location[-1], _names(location[:-1]), n=1)
            return "there is no such setting" + (f"; did you mean {near[0]}?" if near else "")
        case "value_error":
            found = "" if isinstance(error["input"], dict) else f", found {error['input']!r}"
            return str(error["ctx"]["error"]) + found
        case "enum" if location[0] == "reasons" and location[-1] not in MOVABLE:
            return f"there is no such reason to move; these can: {', '.join(sorted(MOVABLE))}"
        case _:
            message = error["msg"][0].lower() + error["msg"][1:]
            return f"{message.removeprefix('input ')}, found {error['input']!r}"


def _end(sentence: str) -> str:
    return sentence if sentence.endswith("?") else sentence + "."


def _names(section: Location) -> list[str]:
    model: type[BaseModel] = Config
    if section[:1] == ("completeness",):
        model = Completeness if len(section) == 1 else SentinelSettings
    elif section[:1] == ("operating_point",):
        model = OperatingPoint
    return list(model.model_fields)


EXAMPLE = """\
# Scanlight. Three settings are enough; the rest are shown with their defaults.
export_folder: /srv/ct-export        # where the scanner exports to; only ever read
state_folder: /var/lib/scanlight     # journal, objects and results; on a local disk
listen: 127.0.0.1:8080               # the status page and the API

# metrics_listen: 127.0.0.1:9464     # metrics alone; default: with the page
# results_folder: /srv/scanlight     # default: results in state_folder
# model: /etc/scanlight/model.onnx   # an ONNX file or a bundle; default: the one built in
# engine: auto                       # auto or cpu
# engine_deadline_s: 20
# operating_point: {value: 0.5, reason: chosen on our own cases}
# completeness:
#   floor_s: 1.5                     # quiet is clamp(k x the 95th percentile of the gaps, floor, ceiling)
#   ceiling_s: 30
#   k: 4
#   sentinel: {glob: "*.done", scope: folder}
# rescan_s: 10
# polling: auto                      # auto: on for network file systems
# backlog_h: 24                      # older files in the folder at the first start are skipped
# workers: 1                         # default: the machine's cores less one
# worker_memory_mb: 1024
# worker_timeout_s: 5
# memory_budget_mb: 2048
# tries: 5
# retry_after_s: 60                  # doubles up to a day
# known_answer_interval_s: 3600
# lung_min_ml: 500
# axial_tolerance_deg: 20
# reasons: {gantry_tilt: skipped}    # skipped or not_analysed
# label: accession_end               # what the page shows: accession, its last four (accession_end), none
# keep_images_days: 30               # images for the page; 0: none are kept
# lamp: {command: [/usr/local/bin/scanlight-lamp], deadline_s: 5}  # run with the state as its last argument
# allow_demonstration: I understand  # findings of a model that is no product may leave this machine
# log_level: info
"""
