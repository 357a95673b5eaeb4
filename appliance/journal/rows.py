"""What the journal keeps and tells."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from appliance.findings.record import SeriesRecord
from appliance.reasons import Outcome
from appliance.records import FileIdentity

MANY = 500
"""So many rows at a time."""

OTHER = "other"
"""The kind of a file that is none of ours."""

AUDIT_UPTO = "audit_upto"
"""Set in the journal to the number of the last line of the audit log."""

BACKLOG = "backlog"
"""The kind of a file from before the installation of which nobody knows the series yet."""


class JournalError(Exception):
    """The journal cannot be opened; the message is one sentence with what to do."""


class JournalDamaged(JournalError):
    """The journal is no database any more, or one whose pages contradict each other."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The journal {path} is damaged: run scanlight rebuild, which keeps it aside and makes a new one"
            " from the results and the export folder."
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, in the metrics' words."""

    name: str
    label: str = ""
    label2: str = ""
    value: float = 1.0


@dataclass(frozen=True, slots=True)
class Total:
    """All events of one name and its labels in one bucket: how many there were, and the sum of their values.

    A bucket has the values above the bound before and not above `up_to`. Events whose values are only added
    up have one, up to infinity.
    """

    name: str
    label: str
    label2: str
    up_to: float
    events: int
    value: float


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A path that the journal knows, and the series it was read into (None: none of ours).

    `changed_ns` is when its inode last changed, of one that is none of ours and where it is known.
    """

    path: str
    identity: FileIdentity
    kind: str
    series_id: int | None
    changed_ns: int = 0


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A series as the journal keeps it.

    `tries` counts the engine calls without success in a row, `in_try` means that the last process ended
    inside one, and `parked` counts how often in a row the series was put off.
    """

    id: int
    subject: str
    stack: int
    study_uid: str | None
    first_seen_at: str
    ended: bool
    tries: int
    in_try: bool
    parked: int
    next_try_at: str | None
    study: int
    station: str
    label: str


class Mark(StrEnum):
    """What people do about a study. Taking back undoes acknowledging, and not having seen undoes that."""

    ACKNOWLEDGED = "acknowledged"
    SEEN = "seen"
    TAKEN_BACK = "taken_back"
    UNSEEN = "unseen"
    RETRIED = "retried"
    """Somebody asked to have it read once more."""


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding of a series as its columns have it: which revision it is, and what people made of it.

    `marked` is the last that covers it: what was done, when, by whom.
    """

    id: int
    revision: int
    outcome: Outcome
    reason: str | None
    probability: float | None
    recorded_at: str
    attention: bool
    marked: tuple[Mark, str, str] | None


@dataclass(frozen=True, slots=True)
class StudySeriesRow:
    """A series of a study with its findings, oldest first. `is_file`: a file that belongs to no series."""

    study: int
    id: int
    subject: str
    stack: int
    is_file: bool
    station: str
    label: str
    number: int | None
    kernel: str | None
    first_seen_at: str
    ended: bool
    provisional: bool
    findings: tuple[FindingRow, ...]


@dataclass(frozen=True, slots=True)
class MarkRow:
    """Something that somebody did about a study."""

    at: str
    action: Mark
    name: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A finding's object on its way to one destination, under `name` there."""

    finding_id: int
    destination: str
    object: str
    name: str
    queued_at: str
    tries: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows by where they stand, and what nobody has looked at.

    `suspect`, `not_analysed` and `failed` count studies, one perhaps in each. A study stays suspect when a
    later revision no longer flags: a flag is never withdrawn in silence. Of the findings by which each
    suspect study became one, `newest_alarm` is the id of the newest, 0 without any; `oldest_alarm_at` is when
    the first flag that waits was recorded.
    """

    series: int
    in_flight: int
    ended: int
    suspect: int
    not_analysed: int
    failed: int
    newest_alarm: int
    oldest_alarm_at: str | None


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file is not a database, or not any more."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_blank(path: Path) -> bool:
    """Whether there is no journal, or one that has lost all that it ever held. Raises sqlite3.Error."""
    if not path.exists():
        return True
    with contextlib.closing(connect(path.absolute().as_uri() + "?mode=ro")) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0]) == 0


def connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5)


SERIES_COLUMNS = (
    "id, subject, stack, study_uid, first_seen_at, ended, tries, in_try, parked, next_try_at, study_id,"
    " station, label"
)


def series_row(row: tuple[Any, ...]) -> SeriesRow:
    one = SeriesRow(*row)
    return replace(one, ended=bool(one.ended), in_try=bool(one.in_try))


def confirmed(text: str, confirmed_at: str | None) -> SeriesRecord:
    return replace(SeriesRecord.from_json(text), confirmed_at=confirmed_at)


def not_on_record(db: sqlite3.Connection, paths: Sequence[str]) -> list[str]:
    known: set[bytes] = set()
    for start in range(0, len(paths), MANY):
        names = [os.fsencode(path) for path in paths[start : start + MANY]]
        places = ", ".join("?" * len(names))
        known.update(row[0] for row in db.execute(f"SELECT path FROM file WHERE path IN ({places})", names))  # noqa: S608
    return [path for path in paths if os.fsencode(path) not in known]
