"""The journal for those who only read: the page, the metrics, the command line."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from appliance.findings.record import SeriesRecord
from appliance.journal.rows import (
    MANY,
    Counts,
    FindingRow,
    JournalDamaged,
    JournalError,
    Mark,
    MarkRow,
    StudySeriesRow,
    Total,
    confirmed,
    connect,
    is_damage,
    not_on_record,
)
from appliance.journal.schema import MIGRATIONS
from appliance.reasons import Outcome, Reason

_CURRENT = (
    "SELECT f.*, s.study_uid FROM finding f JOIN series s ON s.id = f.series_id"
    " WHERE f.revision = (SELECT MAX(revision) FROM finding WHERE series_id = f.series_id)"
)

_OF_STUDIES = (
    "SELECT s.id, s.study_id, subject, stack, study_uid IS NULL, station, label, number, kernel,"
    " first_seen_at, ended, provisional,"
    " f.id, revision, outcome, reason, json_extract(record, '$.probability'), recorded_at, attention,"
    " m.action, m.at, m.name"
    " FROM series s LEFT JOIN finding f ON f.series_id = s.id LEFT JOIN mark m ON m.id = f.mark_id"
)


class JournalReader:
    """A read-only view for the page, the metrics and the command line. One thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises JournalError when there is no journal or it cannot be read."""
        try:
            self._db = connect(path.absolute().as_uri() + "?mode=ro")
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        except sqlite3.Error as error:
            if is_damage(error):
                raise JournalDamaged(path) from error
            raise JournalError(
                f"There is no readable journal at {path} ({error}): name a daemon's state folder."
            ) from error
        if version < len(MIGRATIONS):
            what = "is empty" if version == 0 else "is of an older version"
            raise JournalError(f"The journal {path} {what}: start the daemon once with scanlight run.")

    def close(self) -> None:
        self._db.close()

    def meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def records(self, limit: int = -1, *, skipped: bool = True) -> list[SeriesRecord]:
        """The current finding of each series that ended, newest first, with or without those skipped."""
        rows = self._db.execute(
            f"SELECT record, confirmed_at FROM ({_CURRENT})"  # noqa: S608
            " WHERE ? OR outcome != ? ORDER BY id DESC LIMIT ?",
            (skipped, Outcome.SKIPPED, limit),
        )
        return [confirmed(*row) for row in rows]

    def in_flight(self) -> list[SeriesRecord]:
        """What has been seen and has no finding yet, oldest first; what is read anew keeps its finding."""
        return self._open(
            "SELECT subject, stack, study_uid, first_seen_at, provisional FROM series WHERE NOT ended"
            " AND NOT EXISTS (SELECT 1 FROM finding WHERE series_id = series.id) ORDER BY id"
        )

    def not_ended(self) -> list[SeriesRecord]:
        """Every series that was in flight when the journal was last written, oldest first."""
        return self._open(
            "SELECT subject, stack, study_uid, first_seen_at, provisional FROM series WHERE NOT ended"
            " ORDER BY id"
        )

    def _open(self, query: str) -> list[SeriesRecord]:
        return [
            SeriesRecord(
                series_uid=subject if study else None,
                path=None if study else subject,
                stack=stack,
                study_uid=study,
                first_seen_at=seen,
                in_flight=True,
                provisional=bool(provisional),
            )
            for subject, stack, study, seen, provisional in self._db.execute(query)
        ]

    def not_on_record(self, paths: Sequence[str]) -> list[str]:
        """Those of the paths that the journal does not know."""
        return not_on_record(self._db, paths)

    def subjects_ending_with(self, end: str) -> list[str]:
        """The series UIDs and paths that end so; one that is equal counts alone."""
        rows = self._db.execute(
            "SELECT DISTINCT subject FROM series WHERE substr(subject, -length(?1)) = ?1", (end,)
        )
        subjects = [str(row[0]) for row in rows]
        return [end] if end in subjects else subjects

    def revisions(self, series_uid: str) -> list[SeriesRecord]:
        """Every revision of a series, oldest first; also of a file by its path."""
        rows = self._db.execute(
            "SELECT f.record, f.confirmed_at FROM finding f JOIN series s ON s.id = f.series_id"
            " WHERE s.subject = ? ORDER BY s.stack, f.revision",
            (series_uid,),
        )
        return [confirmed(*row) for row in rows]

    def ended_since(self, moment: str) -> list[str]:
        """The subjects whose current finding was recorded at that time (UTC) or later."""
        rows = self._db.execute(
            f"SELECT subject FROM ({_CURRENT}) c JOIN series ON series.id = c.series_id"  # noqa: S608
            " WHERE recorded_at >= ? AND reason IS NOT ?",
            (moment, Reason.BEFORE_INSTALLATION),
        )
        return [str(row[0]) for row in rows]

    def failed(self) -> list[str]:
        """The subjects whose current finding is a failure."""
        rows = self._db.execute(
            f"SELECT subject FROM ({_CURRENT}) c JOIN series ON series.id = c.series_id"  # noqa: S608
            " WHERE outcome = ?",
            (Outcome.FAILED,),
        )
        return [str(row[0]) for row in rows]

    def counts(self) -> Counts:
        series, ended = self._count("series"), self._count("series WHERE ended = 1")
        in_flight = self._count("series WHERE ended = 0")
        return Counts(series, in_flight, ended, **self.attention(), oldest_alarm_at=self._oldest_alarm())

    def attention(self, station: str | None = None) -> dict[str, int]:
        """What nobody has looked at, of one scanner or of all, as in `Counts`.

        What names no scanner, such as a damaged file, is everybody's.
        """
        began = dict[int, int]()
        unseen: dict[str, set[int]] = {Outcome.NOT_ANALYSED: set(), Outcome.FAILED: set()}
        for finding, outcome, study in self._db.execute(
            "SELECT f.id, outcome, study_id FROM finding f JOIN series s ON s.id = f.series_id"
            " WHERE attention AND (?1 IS NULL OR station IN (?1, ''))",
            (station,),
        ):
            if outcome == Outcome.FLAGGED:
                began[study] = min(finding, began.get(study, finding))
            else:
                unseen[outcome].add(study)
        return {
            "suspect": len(began),
            "not_analysed": len(unseen[Outcome.NOT_ANALYSED]),
            "failed": len(unseen[Outcome.FAILED]),
            "newest_alarm": max(began.values(), default=0),
        }

    def _oldest_alarm(self) -> str | None:
        query = "SELECT MIN(recorded_at) FROM finding WHERE attention AND outcome = ?"
        oldest: str | None = self._db.execute(query, (Outcome.FLAGGED,)).fetchone()[0]
        return oldest

    def is_unknown(self, station: str) -> bool:
        """Whether scanners have names, and this is none of them."""
        known = "SELECT 1 FROM series WHERE station = ? LIMIT 1"
        named = "SELECT 1 FROM series WHERE station > '' LIMIT 1"
        return (
            self._db.execute(known, (station,)).fetchone() is None
            and self._db.execute(named).fetchone() is not None
        )

    def newest_finding(self) -> int:
        """The id of the finding that was recorded last, 0 without any."""
        return int(self._db.execute("SELECT COALESCE(MAX(id), 0) FROM finding").fetchone()[0])

    def studies_between(
        self,
        above: int,
        upto: int,
        *,
        outcomes: Sequence[str] = (),
        since: str | None = None,
        until: str | None = None,
        station: str | None = None,
    ) -> list[int]:
        """The studies whose newest finding has an id above the one and not above the other, newest first.

        With `outcomes`, only those that ever had one of these; since and until a time, which is no part of
        it; of one scanner.
        """
        of_station = (
            " AND EXISTS (SELECT 1 FROM series o WHERE o.study_id = s.study_id AND station IN (?, ''))"
        )
        # The plus keeps SQLite from reading the index of an outcome from its beginning.
        among = (
            " AND EXISTS (SELECT 1 FROM series o JOIN finding n ON n.series_id = o.id"  # noqa: S608
            f" WHERE o.study_id = s.study_id AND +n.outcome IN ({', '.join('?' * len(outcomes))}))"
        )
        conditions = [
            (" AND f.recorded_at >= ?", [since] if since is not None else []),
            (" AND f.recorded_at < ?", [until] if until is not None else []),
            (of_station, [station] if station is not None else []),
            (among, outcomes),
        ]
        rows = self._db.execute(
            "SELECT s.study_id FROM finding f JOIN series s ON s.id = f.series_id"  # noqa: S608
            " WHERE f.id > ? AND f.id <= ?"
            + "".join(condition for condition, values in conditions if values)
            + " AND NOT EXISTS (SELECT 1 FROM series o"
            " JOIN finding n ON n.series_id = o.id WHERE o.study_id = s.study_id AND n.id > f.id)"
            " ORDER BY f.id DESC",
            (above, upto, *(value for _, values in conditions for value in values)),
        )
        return [int(row[0]) for row in rows]

    def open_studies(self, before: int) -> list[int]:
        """The studies with a finding that somebody should look at, and whose newest one has an id below the
        one given, newest first."""
        rows = self._db.execute(
            "SELECT s.study_id, (SELECT MAX(n.id) FROM series o JOIN finding n ON n.series_id = o.id"
            " WHERE o.study_id = s.study_id) AS newest"
            " FROM finding f JOIN series s ON s.id = f.series_id WHERE f.attention"
            " GROUP BY s.study_id HAVING newest < ? ORDER BY newest DESC",
            (before,),
        )
        return [int(row[0]) for row in rows]

    def studies(self, numbers: Sequence[int]) -> list[StudySeriesRow]:
        """The series of these studies, in the order of their ids."""
        rows = [
            row
            for start in range(0, len(numbers), MANY)
            for row in self._db.execute(
                f"{_OF_STUDIES} WHERE s.study_id IN ({_places(numbers[start : start + MANY])})"
                " ORDER BY s.id, f.revision",
                numbers[start : start + MANY],
            )
        ]
        return [_study_series(list(of_one)) for _, of_one in groupby(rows, key=itemgetter(0))]

    def current_records(self, series_ids: Sequence[int]) -> dict[int, SeriesRecord]:
        """The current finding of each of these series that has one, by the id of the series."""
        return {
            series_id: confirmed(text, confirmed_at)
            for start in range(0, len(series_ids), MANY)
            for series_id, text, confirmed_at in self._db.execute(
                "SELECT series_id, record, confirmed_at FROM finding f"  # noqa: S608
                f" WHERE series_id IN ({_places(series_ids[start : start + MANY])})"
                " AND revision = (SELECT MAX(revision) FROM finding WHERE series_id = f.series_id)",
                series_ids[start : start + MANY],
            )
        }

    def marks(self, study: int) -> list[MarkRow]:
        """What people did about a study, oldest first."""
        rows = self._db.execute("SELECT at, action, name FROM mark WHERE study_id = ? ORDER BY id", (study,))
        return [MarkRow(at, Mark(action), name) for at, action, name in rows]

    def _count(self, rows: str, *values: str) -> int:
        return int(self._db.execute(f"SELECT COUNT(*) FROM {rows}", values).fetchone()[0])  # noqa: S608

    def totals(self) -> list[Total]:
        """What all events that ever were add up to."""
        rows = self._db.execute("SELECT name, label, label2, up_to, events, value FROM total")
        return [Total(*row) for row in rows]


def _places(values: Sequence[int]) -> str:
    return ", ".join("?" * len(values))


def _study_series(rows: list[tuple[Any, ...]]) -> StudySeriesRow:
    """From the rows of one series, one for each of its findings, or one without."""
    id_, study, subject, stack, is_file, station, label, number, kernel, first_seen_at, ended, provisional = (
        rows[0][:12]
    )
    return StudySeriesRow(
        study,
        id_,
        subject,
        stack,
        bool(is_file),
        station,
        label,
        number,
        kernel,
        first_seen_at,
        bool(ended),
        bool(provisional),
        tuple(_finding(*row[12:]) for row in rows if row[12] is not None),
    )


def _finding(
    id_: int,
    revision: int,
    outcome: str,
    reason: str | None,
    probability: float | None,
    recorded_at: str,
    attention: int,
    action: str | None,
    at: str,
    name: str,
) -> FindingRow:
    marked = None if action is None else (Mark(action), at, name)
    return FindingRow(
        id_, revision, Outcome(outcome), reason, probability, recorded_at, bool(attention), marked
    )
