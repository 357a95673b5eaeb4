"""The facts of the moment, as the main loop last published them: one immutable snapshot.

The light, the page and the metrics are functions of it and of the journal; they never ask the daemon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from appliance.gpu import Gpu
from engines.protocol import EngineIdentity
from engines.spec import IntendedUse

Stage = Literal["receiving", "waiting", "reading", "provisional"]
LampState = Literal["off", "ok", "failing"]


@dataclass(frozen=True, slots=True)
class InProgress:
    """A series in flight: `seen` slices so far; `provisional` is read without a flag and waiting for more.

    `study` is the study's number in the journal, `label` what may be shown of it.
    """

    series_uid: str
    seen: int
    stage: Stage
    since: str
    study: int = 0
    station: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model in use; `engine` is None until it is loaded.

    `engine_why` is a sentence where it does not open, or is not the one that was hoped for.
    """

    name: str
    version: str
    digest: str
    intended_use: IntendedUse
    notice: str
    operating_point: float
    engine: EngineIdentity | None
    engine_why: str = ""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The last time that the configuration was read again: how many mistakes kept all as it was, the settings
    that changed, and those whose change waits for a start, with the reasons."""

    at: str
    mistakes: int
    applied: tuple[str, ...]
    refused: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is true now. Ages are seconds on the monotonic clock at the moment of publishing, `rescan_at`
    and `known_answer_at` the same moments as Unix time.

    `heartbeat` is the monotonic time at which the main loop published this, so that a reader can tell a
    loop that moves from one that hangs. Ages and `known_answer_ok` are None until the first time, and late
    when they pass their limit. `faults` are codes of operations that fail now, such as writing a result.
    `suspect` counts studies, `not_analysed` and `failed` series that nobody has looked at; `newest_alarm` is
    the newest of the findings by which studies became suspect, 0 without any, and `oldest_alarm_s` the age
    of the oldest. `reloaded` is None until the
    first time. `closed_folders` are some of those in the export folder that cannot be opened; their names are
    not for the page. `gpus` are those whose driver has answered of late. `not_accepted` has the codes of why
    this installation is not accepted as it runs, none where it is.
    """

    heartbeat: float
    published_at: str
    started_at: str
    folder_up: bool
    rescan_age_s: float | None
    rescan_limit_s: float
    rescan_at: float | None
    known_answer_ok: bool | None
    known_answer_age_s: float | None
    known_answer_limit_s: float
    known_answer_at: float | None
    model: ModelFacts
    not_accepted: tuple[str, ...]
    faults: tuple[str, ...]
    suspect: int
    not_analysed: int
    failed: int
    newest_alarm: int
    oldest_alarm_s: float
    lamp: LampState
    reloaded: Reloaded | None
    closed_folders: tuple[str, ...]
    in_progress: tuple[InProgress, ...]
    queue_depth: dict[str, int]
    oldest_pending_s: float
    delivery_oldest_s: dict[str, float]
    disk_free_bytes: dict[str, int]
    conservation_error: int
    gpus: tuple[Gpu, ...]


class Board:
    """Where the main loop publishes the facts and the other threads read them: one reference, swapped."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
