"""The configuration: one YAML file, validated whole at start, all errors at once.

Every error names the line, the setting, what was found and what is expected.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from appliance import config_text
from appliance.addresses import is_loopback, overlap, split
from appliance.config_problems import Wrong, expected, nearest, problems
from appliance.intake.completeness import Pace
from appliance.intake.folder import real_path
from appliance.reasons import MOVABLE, Outcome, Reason
from engines.protocol import EngineKind

DEFAULT_CONFIG = Path("/etc/scanlight.yaml")


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has one sentence for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    if "\0" in str(path):
        raise ValueError("must be a path: no name of a file holds a NUL character")
    return path


def _switch(value: object) -> object:
    """YAML 1.1 reads `on` and `off` as booleans."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError("must be an address and a port, such as 127.0.0.1:8080")
    return value


def _host_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", value):
        raise ValueError("must be a name such as ct1.hospital.example, without https:// and port")
    return value.lower()


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", value):
        raise ValueError("must be the name of a header, such as X-Remote-User")
    return value


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Address = Annotated[str, AfterValidator(_address)]
HostName = Annotated[str, AfterValidator(_host_name)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=86400)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
            above = f"must not be above ceiling_s ({self.ceiling_s:g}), found {self.floor_s:g}"
            raise Wrong([("floor_s", above)])
        return self


class OperatingPoint(_Section):
    """A site's own threshold; it appears on every finding together with its reason."""

    value: float = Field(strict=True, gt=0, lt=1)
    reason: str = Field(min_length=3)


class TlsSettings(_Section):
    """What the page shows to be this machine, as PEM files."""

    certificate: AbsolutePath = Field(description="the certificate, with those that lead to its root")
    key: AbsolutePath


class ProxySettings(_Section):
    """A reverse proxy on this machine that knows its users."""

    user_header: Annotated[str, AfterValidator(_header_name)] = Field(
        description="where the proxy writes the user's name, whatever the client sent there"
    )


def _program(command: tuple[str, ...]) -> tuple[str, ...]:
    if not Path(command[0]).is_absolute():
        raise ValueError("must begin with the absolute path of a program")
    return command


class LampSettings(_Section):
    """A command that shows the light's state on a lamp: it is run with the state as its last argument."""

    command: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_program)]
    deadline_s: float = Field(default=5.0, strict=True, gt=0, le=30)


MOVED_TO = (Outcome.SKIPPED.value, Outcome.NOT_ANALYSED.value)


def _movable(reasons: object) -> object:
    """Says of each reason by itself what is wrong with it."""
    if not isinstance(reasons, dict):
        return reasons
    wrong = []
    for reason, outcome in reasons.items():
        if reason in set(Reason) - MOVABLE:
            wrong.append((reason, f"cannot be moved; these can: {', '.join(sorted(MOVABLE))}"))
        elif reason not in MOVABLE:
            near = nearest(reason, MOVABLE)
            wrong.append(
                (reason, f"there is no such reason; these can be moved: {', '.join(sorted(MOVABLE))}{near}")
            )
        elif outcome not in MOVED_TO:
            wrong.append((reason, expected(MOVED_TO, outcome, ("reasons", reason))))
    if wrong:
        raise Wrong(wrong)
    return reasons


class Config(_Section):
    """Everything that a site can set. Three lines are enough: export_folder, state_folder, listen."""

    export_folder: AbsolutePath = Field(description="where the scanner exports to; only ever read")
    state_folder: AbsolutePath = Field(description="journal, objects and results; on a local disk")
    listen: Address = Field(default="127.0.0.1:8080", description="the status page and the API")
    metrics_listen: Address | None = Field(default=None, description="metrics alone; default: with the page")
    tls: TlsSettings | None = Field(default=None, description="default: plain HTTP, for this machine alone")
    access_token_file: AbsolutePath | None = Field(
        default=None, description="the token that opens the page and the API; default: open to this machine"
    )
    hosts: tuple[HostName, ...] = Field(default=(), description="names by which browsers call this machine")
    proxy: ProxySettings | None = Field(
        default=None, description="default: people give their name themselves"
    )
    results_folder: AbsolutePath | None = Field(default=None, description="default: results in state_folder")
    model: AbsolutePath | None = Field(
        default=None, description="an ONNX file or a bundle; default: built in"
    )
    engine: EngineKind = "auto"
    engine_deadline_s: Seconds = 20.0
    operating_point: OperatingPoint | None = Field(default=None, description="default: the model's own")
    completeness: Completeness = Completeness()
    rescan_s: Seconds = 10.0
    polling: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = "auto"
    backlog_h: float = Field(default=24.0, strict=True, ge=0, le=876000)
    workers: int = Field(default_factory=lambda: max(1, (os.cpu_count() or 2) - 1), strict=True, ge=1, le=256)
    worker_memory_mb: int = Field(default=1024, strict=True, ge=256, le=1048576)
    worker_timeout_s: Seconds = 5.0
    memory_budget_mb: int = Field(default=2048, strict=True, ge=64, le=1048576)
    tries: int = Field(default=5, strict=True, ge=1, le=100)
    retry_after_s: Seconds = 60.0
    known_answer_interval_s: Annotated[float, Field(strict=True, gt=0, le=3600)] = 3600.0
    lung_min_ml: float = Field(default=500.0, strict=True, ge=0, le=20000)
    axial_tolerance_deg: float = Field(default=20.0, strict=True, gt=0, le=45)
    reasons: Annotated[dict[Reason, Outcome], BeforeValidator(_movable)] = Field(
        default_factory=dict, description="reason: skipped or not_analysed, for the movable ones"
    )
    label: Literal["accession_end", "accession", "none"] = Field(
        default="accession_end", description="what the page shows of a study beside its time"
    )
    keep_images_days: int = Field(
        default=30, strict=True, ge=0, le=36500, description="images for the page; 0: none"
    )
    lamp: LampSettings | None = Field(default=None, description="default: no lamp")
    allow_demonstration: Literal["I understand"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        wrong = [
            *self._lies_in_the_export_folder(),
            *self._is_open_to_others(),
            *self._listens_twice(),
        ]
        if wrong:
            raise Wrong(wrong)
        return self

    def _lies_in_the_export_folder(self) -> Iterator[tuple[str, str]]:
        export_folder = real_path(self.export_folder)
        for name, folder in (("state_folder", self.state_folder), ("results_folder", self.results)):
            if real_path(folder).is_relative_to(export_folder):
                yield name, "must not lie in export_folder, which is only ever read"
                if self.results_folder is None:
                    break

    def _is_open_to_others(self) -> Iterator[tuple[str, str]]:
        if is_loopback(split(self.listen)[0]):
            return
        wanted = {"tls": self.tls, "access_token_file": self.access_token_file}
        missing = " and ".join(name for name, value in wanted.items() if value is None)
        if missing:
            yield (
                "listen",
                f"lets other machines see the page, which needs {missing}: set what is missing, or listen on"
                f" 127.0.0.1:8080, found {self.listen!r}",
            )
        if self.proxy is not None:
            yield "proxy", "needs listen on 127.0.0.1: otherwise anybody could give a name"

    def _listens_twice(self) -> Iterator[tuple[str, str]]:
        one, other = self.listen, self.metrics_listen
        if other is not None and one != other and overlap(one, other):
            yield (
                "metrics_listen",
                f"takes the port of listen, found {other!r} beside {one!r}: choose another port, or leave it"
                " out for metrics with the page",
            )

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


def state_folder(path: Path) -> Path:
    """The state folder that a configuration names, whatever else is wrong with it. Raises ConfigError."""
    try:
        return load(path).state_folder
    except ConfigError:
        with contextlib.suppress(OSError, UnicodeDecodeError, config_text.NotYaml):
            values = _whole(path.read_text(encoding="utf-8"))
            named = values.get("state_folder") if isinstance(values, dict) else None
            if isinstance(named, str) and Path(named).is_absolute():
                return Path(named)
        raise


def _whole(text: str) -> object:
    """What a text says of the state folder, and of all else where it is YAML as a whole. Raises NotYaml."""
    try:
        return config_text.read(text).values
    except config_text.NotYaml:
        lines = [line for line in text.splitlines() if line.startswith("state_folder:")]
        return config_text.read("\n".join(lines)).values if len(lines) == 1 else None


def parse(text: str, name: str) -> Config:
    """The configuration in a YAML text; `name` stands for its file in errors."""
    try:
        read = config_text.read(text)
    except config_text.NotYaml as error:
        place = f", line {error.line}" if error.line else ""
        raise ConfigError([f"{name}{place}: not valid YAML: {error}."]) from error
    if not isinstance(read.values, dict):
        raise ConfigError([f"{name}: expected settings such as export_folder: /data/export."])
    found = problems(read, Config)
    if found:
        raise ConfigError([f"{name}, {problem}" for problem in found])
    return Config.model_validate(read.values)


EXAMPLE = """\
# Scanlight. Three settings are enough; the rest are shown with their defaults.
export_folder: /srv/ct-export        # where the scanner exports to; only ever read
state_folder: /var/lib/scanlight     # journal, objects and results; on a local disk
listen: 127.0.0.1:8080               # the status page and the API

# metrics_listen: 127.0.0.1:9464     # metrics alone; default: with the page
# tls: {certificate: /etc/scanlight/page.pem, key: /etc/scanlight/page.key}  # with listen on 0.0.0.0:8443
# access_token_file: /etc/scanlight/token  # opens page and API; needed with listen on other than 127.0.0.1
# hosts: [ct1.hospital.example]      # names by which browsers call this machine
# proxy: {user_header: X-Remote-User}  # a reverse proxy on this machine that knows its users
# results_folder: /srv/scanlight     # default: results in state_folder
# model: /etc/scanlight/model.onnx   # an ONNX file or a bundle; default: the one built in
# engine: auto                       # auto, cpu, or tensorrt: the GPU or nothing
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
