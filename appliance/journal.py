"""The journal: what was done. SQLite, one writing connection behind a lock; readers open read-only ones.

The export folder is the truth of what arrived, this the truth of what was done with it. Every write is one
transaction, with synchronous=FULL in WAL mode: once `record` returns, the finding survives a power cut
(https://sqlite.org/pragma.html#pragma_synchronous). No other I/O happens inside a transaction.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from appliance import durable
from appliance.clock import utc_now
from appliance.faults import reach
from appliance.findings.record import SeriesRecord
from appliance.reasons import Outcome, Reason
from appliance.records import Arrival, FileIdentity
from appliance.state_disk import StateDisk

T = TypeVar("T")

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    -- A subject is a series UID, or the path of a file that belongs to no series.
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        subject TEXT NOT NULL,
        stack INTEGER NOT NULL DEFAULT 1,
        study_uid TEXT,
        first_seen_at TEXT NOT NULL,
        ended INTEGER NOT NULL DEFAULT 0,
        provisional INTEGER NOT NULL DEFAULT 0,
        tries INTEGER NOT NULL DEFAULT 0,
        in_try INTEGER NOT NULL DEFAULT 0,
        parked INTEGER NOT NULL DEFAULT 0,
        next_try_at TEXT,
        UNIQUE (subject, stack)
    );

    -- What was read of each path, so that a restart parses only what is new. A path is bytes: not every name
    -- is UTF-8. `series_id` is NULL for a file that is none of ours.
    CREATE TABLE file (
        path BLOB PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        kind TEXT NOT NULL,
        series_id INTEGER REFERENCES series (id)
    ) WITHOUT ROWID;
    CREATE INDEX file_by_series ON file (series_id);

    CREATE TABLE finding (
        id INTEGER PRIMARY KEY,
        series_id INTEGER NOT NULL REFERENCES series (id),
        revision INTEGER NOT NULL,
        reading_key TEXT NOT NULL,
        supersedes TEXT,
        outcome TEXT NOT NULL,
        reason TEXT,
        recorded_at TEXT NOT NULL,
        object TEXT,
        record TEXT NOT NULL,
        UNIQUE (series_id, revision),
        UNIQUE (series_id, reading_key)
    );

    CREATE TABLE delivery (
        finding_id INTEGER NOT NULL REFERENCES finding (id),
        destination TEXT NOT NULL,
        object TEXT NOT NULL,
        name TEXT NOT NULL,
        queued_at TEXT NOT NULL,
        delivered_at TEXT,
        tries INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (finding_id, destination)
    ) WITHOUT ROWID;
    CREATE INDEX delivery_open ON delivery (queued_at) WHERE delivered_at IS NULL;

    -- Append-only; the counters and histograms of the metrics are sums over it.
    CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        name TEXT NOT NULL,
        label TEXT NOT NULL DEFAULT '',
        label2 TEXT NOT NULL DEFAULT '',
        value REAL NOT NULL DEFAULT 1
    );
    """,
    """
    -- A reading is unconfirmed until the known answers pass after it.
    ALTER TABLE finding ADD COLUMN unconfirmed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE finding ADD COLUMN confirmed_at TEXT;
    CREATE INDEX finding_unconfirmed ON finding (series_id) WHERE unconfirmed;
    CREATE INDEX finding_outcome ON finding (outcome, series_id);
    CREATE INDEX series_ended ON series (ended);
    CREATE INDEX series_due ON series (next_try_at) WHERE next_try_at IS NOT NULL;

    -- Files from before the installation, of which nobody knows the series yet.
    CREATE INDEX file_backlog ON file (path) WHERE kind = 'backlog';
    """,
)
"""Numbered and additive: entry n brings the schema from version n to n + 1."""

MIN_READER = 1
"""The oldest schema version whose code can still read what this one writes."""


MANY = 500
"""So many rows at a time."""

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
class KnownFile:
    """A path that the journal knows, and the series it was read into (None: none of ours)."""

    path: str
    identity: FileIdentity
    kind: str
    series_id: int | None


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


@dataclass(frozen=True, slots=True)
class Delivery:
    """A finding's object on its way to one destination, under `name` there."""

    finding_id: int
    destination: str
    object: str
    name: str
    queued_at: str
    tries: int


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file is not a database, or not any more."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_blank(path: Path) -> bool:
    """Whether there is no journal, or one that has lost all that it ever held. Raises sqlite3.Error."""
    if not path.exists():
        return True
    with contextlib.closing(_connect(path.absolute().as_uri() + "?mode=ro")) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0]) == 0


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5)


class Journal:
    """The one writer, for any thread of the daemon. Every write waits for a disk that refuses."""

    def __init__(self, path: Path, disk: StateDisk | None = None) -> None:
        """Open or create the journal; raises JournalError when it cannot be used."""
        self._lock = threading.Lock()
        self._disk = disk or StateDisk()
        self.path = path
        try:
            self._db = _connect(path.absolute().as_uri())
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            if self._db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise JournalDamaged(path)
            self._migrate()
            # The name itself must survive a power cut.
            durable.sync_folder(path.absolute().parent)
        except (OSError, sqlite3.Error) as error:
            if is_damage(error):
                raise JournalDamaged(path) from error
            raise JournalError(
                f"The journal {path} cannot be opened ({error}): check the disk and its permissions."
            ) from error

    def close(self) -> None:
        """Everything is in the one file afterwards, whoever still reads."""
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()

    def _migrate(self) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            if int(self.meta("min_reader") or version) > len(MIGRATIONS):
                raise JournalError(
                    f"The journal {self.path} was written by a newer version of Scanlight (schema {version}) "
                    f"than this one can read ({len(MIGRATIONS)}): install that version again."
                )
            return
        if 0 < version < len(MIGRATIONS):
            self._backup(version)
        for number in range(version, len(MIGRATIONS)):
            self._transact(partial(_bring_to, number + 1))

    def _backup(self, version: int) -> None:
        """A copy under its final name only once it is whole."""
        copy = self.path.with_suffix(f".v{version}.bak")
        temporary = copy.with_name(f".{copy.name}.tmp")
        temporary.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(temporary)) as backup:
            self._db.backup(backup)
        temporary.replace(copy)
        durable.sync_folder(copy.absolute().parent)

    def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction, repeated as a whole until the disk takes it."""
        return self._disk.until_taken(lambda: self._transact(change))

    def _transact(self, change: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                reach("journal.begun")
                result = change(self._db)
                reach("journal.written")
                self._db.execute("COMMIT")
            except BaseException:
                # A COMMIT that the disk refused has left the transaction open, or has ended it already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            reach("journal.committed")
            return result

    def meta(self, key: str) -> str | None:
        with self._lock:
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        self._write(lambda db: _set(db, key, value))

    def known_files(self) -> Iterator[KnownFile]:
        """Every path that was read into a series that ended, or is none of ours."""
        last = b""
        while True:
            with self._lock:
                rows = self._db.execute(
                    "SELECT path, size, mtime_ns, inode, kind, series_id FROM file"
                    " LEFT JOIN series ON series.id = series_id"
                    " WHERE path > ? AND (series_id IS NULL OR ended) ORDER BY path LIMIT ?",
                    (last, MANY),
                ).fetchall()
            if not rows:
                return
            for path, size, mtime_ns, inode, kind, series_id in rows:
                yield KnownFile(os.fsdecode(path), FileIdentity(size, mtime_ns, inode), kind, series_id)
            last = rows[-1][0]

    def backlog(self, limit: int) -> list[Arrival]:
        """Files from before the installation, of which nobody knows the series yet."""
        with self._lock:
            rows = self._db.execute(
                "SELECT path, size, mtime_ns, inode FROM file WHERE kind = ? LIMIT ?", (BACKLOG, limit)
            ).fetchall()
        return [Arrival(Path(os.fsdecode(path)), FileIdentity(*identity)) for path, *identity in rows]

    def not_on_record(self, paths: Sequence[str]) -> list[str]:
        """Those of the paths that the journal does not know."""
        with self._lock:
            return _not_on_record(self._db, paths)

    def files_of(self, series_id: int) -> list[KnownFile]:
        """The paths that were read into a series, to read them again."""
        with self._lock:
            rows = self._db.execute(
                "SELECT path, size, mtime_ns, inode, kind FROM file WHERE series_id = ?", (series_id,)
            ).fetchall()
        return [
            KnownFile(os.fsdecode(path), FileIdentity(size, mtime_ns, inode), kind, series_id)
            for path, size, mtime_ns, inode, kind in rows
        ]

    def add_files(self, files: Sequence[KnownFile], events: Sequence[Event] = ()) -> None:
        def add(db: sqlite3.Connection) -> None:
            _put_files(db, files)
            _append(db, events)

        self._write(add)

    def series(
        self, subject: str, study_uid: str | None, stack: int = 1, *, ended: bool = False
    ) -> SeriesRow:
        """The row of a series, made when it is seen for the first time, in flight or `ended`."""
        with self._lock:
            row = self._series_row(subject, stack)
        if row is not None:
            return row

        def insert(db: sqlite3.Connection) -> SeriesRow | None:
            db.execute(
                "INSERT INTO series (subject, stack, study_uid, first_seen_at, ended) VALUES (?, ?, ?, ?, ?)",
                (subject, stack, study_uid, utc_now(), ended),
            )
            return self._series_row(subject, stack)

        row = self._write(insert)
        assert row is not None
        return row

    def _series_row(self, subject: str, stack: int) -> SeriesRow | None:
        row = self._db.execute(
            f"SELECT {_SERIES_COLUMNS}"  # noqa: S608
            " FROM series WHERE subject = ? AND stack = ?",
            (subject, stack),
        ).fetchone()
        return None if row is None else _series(row)

    def reopen(self, series_id: int) -> None:
        """A series that ended is in flight again."""
        self._execute("UPDATE series SET ended = 0, next_try_at = NULL WHERE id = ?", series_id)

    def set_provisional(self, series_id: int, provisional: bool) -> None:
        """A series was read without a flag and waits for late slices, or does no longer."""
        self._execute("UPDATE series SET provisional = ? WHERE id = ?", provisional, series_id)

    def charge_try(self, series_id: int) -> None:
        """Before an engine call: should the process end inside it, the try is this series'."""
        self._execute("UPDATE series SET tries = tries + 1, in_try = 1 WHERE id = ?", series_id)

    def settle_try(self, series_id: int, *, success: bool) -> None:
        """After an engine call: a success resets the count."""
        self._execute(
            "UPDATE series SET in_try = 0, tries = tries * ?, parked = parked * ? WHERE id = ?",
            not success,
            not success,
            series_id,
        )

    def abandon_tries(self) -> None:
        """At start: a series inside an engine call when the process ended keeps that try."""
        self._execute("UPDATE series SET in_try = 0, provisional = 0 WHERE in_try OR provisional")

    def return_tries(self) -> None:
        """At a stop that was asked for: a series inside an engine call has not ended the process."""
        self._execute("UPDATE series SET in_try = 0, tries = tries - 1 WHERE in_try")

    def current(self, series_id: int) -> SeriesRecord | None:
        """The current finding of a series: its newest revision."""
        with self._lock:
            row = self._db.execute(
                "SELECT record FROM finding WHERE series_id = ? ORDER BY revision DESC LIMIT 1", (series_id,)
            ).fetchone()
        return None if row is None else SeriesRecord.from_json(row[0])

    def was_flagged(self, series_id: int) -> bool:
        """Whether any revision of a series was flagged."""
        with self._lock:
            found = self._db.execute(
                "SELECT 1 FROM finding WHERE series_id = ? AND outcome = ?", (series_id, Outcome.FLAGGED)
            ).fetchone()
        return found is not None

    def reading(self, series_id: int, reading_key: str) -> SeriesRecord | None:
        """The finding with this reading key."""
        with self._lock:
            row = self._db.execute(
                "SELECT record FROM finding WHERE series_id = ? AND reading_key = ?", (series_id, reading_key)
            ).fetchone()
        return None if row is None else SeriesRecord.from_json(row[0])

    def end(
        self,
        series_id: int,
        files: Sequence[KnownFile],
        events: Sequence[Event],
        *,
        finding: tuple[SeriesRecord, str, Sequence[tuple[str, str]]] | None = None,
        next_try_at: str | None = None,
        unconfirmed: bool = False,
    ) -> None:
        """A series ended, in one transaction: its files, its finding, its deliveries, its events.

        `finding` is (record, name of its object, [(destination, name there), ...]); None when the reading is
        the one already on record. `next_try_at` is set for a failure that will be tried again, `unconfirmed`
        for a reading that the next known answers are to confirm.
        """

        def end(db: sqlite3.Connection) -> None:
            _put_files(db, [replace(one, series_id=series_id) for one in files])
            if finding is not None:
                record, stored, destinations = finding
                db.execute("UPDATE finding SET unconfirmed = 0 WHERE series_id = ?", (series_id,))
                cursor = db.execute(
                    "INSERT INTO finding (series_id, revision, reading_key, supersedes, outcome, reason,"
                    " recorded_at, object, record, unconfirmed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        series_id,
                        record.revision,
                        record.reading_key,
                        record.supersedes,
                        record.outcome,
                        record.reason,
                        record.recorded_at,
                        stored,
                        record.to_json(),
                        unconfirmed,
                    ),
                )
                db.executemany(
                    "INSERT INTO delivery (finding_id, destination, object, name, queued_at)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (
                        (cursor.lastrowid, destination, stored, name, utc_now())
                        for destination, name in destinations
                    ),
                )
            db.execute(
                "UPDATE series SET ended = 1, provisional = 0, next_try_at = ?, parked = parked + ?"
                " WHERE id = ?",
                (next_try_at, next_try_at is not None, series_id),
            )
            _append(db, events)

        self._write(end)

    def try_again(self, subjects: Sequence[str], at: str) -> int:
        """Have these series that ended read once more, from the time `at` on; how many there are."""

        def mark(db: sqlite3.Connection) -> int:
            return sum(
                db.execute(
                    "UPDATE series SET next_try_at = ? WHERE subject = ? AND ended", (at, subject)
                ).rowcount
                for subject in subjects
            )

        return self._write(mark)

    def confirm(self, at: str) -> None:
        """The known answers passed: what was read since the last time is confirmed.

        What is still to be read again is not.
        """
        self._execute(
            "UPDATE finding SET unconfirmed = 0, confirmed_at = ? WHERE unconfirmed"
            " AND series_id IN (SELECT id FROM series WHERE ended AND next_try_at IS NULL)",
            at,
        )

    def unconfirmed(self) -> list[str]:
        """The subjects of the series whose current finding nothing has confirmed."""
        with self._lock:
            rows = self._db.execute(
                "SELECT DISTINCT subject FROM finding JOIN series ON series.id = series_id WHERE unconfirmed"
            ).fetchall()
        return [str(row[0]) for row in rows]

    def never_confirmed(self, series_id: int) -> None:
        """Its files are gone: the finding stands, and nothing will confirm it."""
        self._execute("UPDATE finding SET unconfirmed = 0 WHERE series_id = ?", series_id)

    def due_tries(self, now: str, latest: str, limit: int) -> list[SeriesRow]:
        """Up to `limit` series that are to be read again now, the longest due first.

        A try after `latest` was put down before the clock was set back, and is due as well.
        """
        with self._lock:
            rows = self._db.execute(
                f"SELECT {_SERIES_COLUMNS}"  # noqa: S608
                " FROM series WHERE next_try_at <= ? OR next_try_at > ? ORDER BY next_try_at LIMIT ?",
                (now, latest, limit),
            ).fetchall()
        return [_series(row) for row in rows]

    def open_deliveries(self) -> list[Delivery]:
        with self._lock:
            rows = self._db.execute(
                "SELECT finding_id, destination, object, name, queued_at, tries FROM delivery"
                " WHERE delivered_at IS NULL ORDER BY finding_id, destination"
            ).fetchall()
        return [Delivery(*row) for row in rows]

    def settle_delivery(self, delivery: Delivery, *, delivered: bool) -> None:
        """A delivery was tried: it is done, or stays open for another try."""
        result = "delivered" if delivered else "failed"

        def settle(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE delivery SET tries = tries + 1, delivered_at = ?"
                " WHERE finding_id = ? AND destination = ?",
                (utc_now() if delivered else None, delivery.finding_id, delivery.destination),
            )
            _append(db, [Event("deliveries", delivery.destination, result)])

        self._write(settle)

    def _execute(self, statement: str, *values: object) -> None:
        self._write(lambda db: db.execute(statement, values))


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows by where they stand. `suspect` counts studies that were ever flagged, the others series.

    A study stays suspect when a later revision no longer flags: a flag is never withdrawn in silence.
    """

    series: int
    in_flight: int
    ended: int
    suspect: int
    not_analysed: int
    failed: int


_CURRENT = (
    "SELECT f.*, s.study_uid FROM finding f JOIN series s ON s.id = f.series_id"
    " WHERE f.revision = (SELECT MAX(revision) FROM finding WHERE series_id = f.series_id)"
)

_CURRENT_OF_OUTCOME = (
    "finding f WHERE outcome = ? AND NOT EXISTS"
    " (SELECT 1 FROM finding WHERE series_id = f.series_id AND revision > f.revision)"
)


class JournalReader:
    """A read-only view for the page, the metrics and the command line. One thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises JournalError when there is no journal or it cannot be read."""
        try:
            self._db = _connect(path.absolute().as_uri() + "?mode=ro")
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
        return [_record(*row) for row in rows]

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
        return _not_on_record(self._db, paths)

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
        return [_record(*row) for row in rows]

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
        return Counts(
            series=self._count("series"),
            in_flight=self._count("series WHERE ended = 0"),
            ended=self._count("series WHERE ended = 1"),
            suspect=self._db.execute(
                "SELECT COUNT(DISTINCT study_uid) FROM series"
                " WHERE id IN (SELECT series_id FROM finding WHERE outcome = ?)",
                (Outcome.FLAGGED,),
            ).fetchone()[0],
            not_analysed=self._count(_CURRENT_OF_OUTCOME, Outcome.NOT_ANALYSED),
            failed=self._count(_CURRENT_OF_OUTCOME, Outcome.FAILED),
        )

    def _count(self, rows: str, *values: str) -> int:
        return int(self._db.execute(f"SELECT COUNT(*) FROM {rows}", values).fetchone()[0])  # noqa: S608

    def events_after(self, event_id: int) -> list[tuple[int, Event]]:
        """The events since the one with this id (0: all), oldest first."""
        rows = self._db.execute(
            "SELECT id, name, label, label2, value FROM event WHERE id > ? ORDER BY id", (event_id,)
        )
        return [(row[0], Event(*row[1:])) for row in rows]


def _record(text: str, confirmed_at: str | None) -> SeriesRecord:
    return replace(SeriesRecord.from_json(text), confirmed_at=confirmed_at)


def _set(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _bring_to(version: int, db: sqlite3.Connection) -> None:
    """Migrate from the version before."""
    for statement in _statements(MIGRATIONS[version - 1]):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {version}")
    _set(db, "min_reader", str(MIN_READER))
    if version == 1:
        _set(db, "created_at", utc_now())


def _not_on_record(db: sqlite3.Connection, paths: Sequence[str]) -> list[str]:
    known: set[bytes] = set()
    for start in range(0, len(paths), MANY):
        names = [os.fsencode(path) for path in paths[start : start + MANY]]
        places = ", ".join("?" * len(names))
        known.update(row[0] for row in db.execute(f"SELECT path FROM file WHERE path IN ({places})", names))  # noqa: S608
    return [path for path in paths if os.fsencode(path) not in known]


def _put_files(db: sqlite3.Connection, files: Iterable[KnownFile]) -> None:
    db.executemany(
        "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?)",
        (
            (
                os.fsencode(one.path),
                one.identity.size,
                one.identity.mtime_ns,
                one.identity.inode,
                one.kind,
                one.series_id,
            )
            for one in files
        ),
    )


def _append(db: sqlite3.Connection, events: Iterable[Event]) -> None:
    db.executemany(
        "INSERT INTO event (at, name, label, label2, value) VALUES (?, ?, ?, ?, ?)",
        ((utc_now(), e.name, e.label, e.label2, e.value) for e in events),
    )


_SERIES_COLUMNS = "id, subject, stack, study_uid, first_seen_at, ended, tries, in_try, parked, next_try_at"


def _series(row: tuple[int, str, int, str | None, str, int, int, int, int, str | None]) -> SeriesRow:
    series_id, subject, stack, study_uid, first_seen_at, ended, tries, in_try, parked, next_try_at = row
    return SeriesRow(
        series_id,
        subject,
        stack,
        study_uid,
        first_seen_at,
        bool(ended),
        tries,
        bool(in_try),
        parked,
        next_try_at,
    )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
