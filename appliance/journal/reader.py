"""The journal for those who only read: the page, the metrics, the command line."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from appliance.findings.record import SeriesRecord
from appliance.journal.rows import (
    Counts,
    JournalDamaged,
    JournalError,
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
        return Counts(series, in_flight, ended, **self.attention())

    def attention(self, station: str | None = None) -> dict[str, int]:
        """What nobody has looked at, of one scanner or of all, as in `Counts`."""
        studies, newest, series = set[int](), 0, Counter[str]()
        for finding, outcome, study in self._db.execute(
            "SELECT f.id, outcome, study_id FROM finding f JOIN series s ON s.id = f.series_id"
            " WHERE attention AND (?1 IS NULL OR station = ?1)",
            (station,),
        ):
            if outcome == Outcome.FLAGGED:
                studies.add(study)
                newest = max(newest, finding)
            else:
                series[outcome] += 1
        return {
            "suspect": len(studies),
            "not_analysed": series[Outcome.NOT_ANALYSED],
            "failed": series[Outcome.FAILED],
            "newest_alarm": newest,
        }

    def _count(self, rows: str, *values: str) -> int:
        return int(self._db.execute(f"SELECT COUNT(*) FROM {rows}", values).fetchone()[0])  # noqa: S608

    def totals(self) -> list[Total]:
        """What all events that ever were add up to."""
        rows = self._db.execute("SELECT name, label, label2, up_to, events, value FROM total")
        return [Total(*row) for row in rows]
