"""The one writer of the journal.

Every write is one transaction, with synchronous=FULL in WAL mode: once `end` returns, the finding survives a
power cut (https://sqlite.org/pragma.html#pragma_synchronous). No other I/O happens inside a transaction.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from appliance import durable
from appliance.clock import utc_now
from appliance.faults import reach
from appliance.findings.identity import file_stem
from appliance.findings.record import SeriesRecord
from appliance.journal.rows import (
    AUDIT_UPTO,
    BACKLOG,
    MANY,
    OTHER,
    SERIES_COLUMNS,
    Delivery,
    Event,
    JournalDamaged,
    JournalError,
    KnownFile,
    Mark,
    SeriesRow,
    connect,
    is_damage,
    not_on_record,
    series_row,
)
from appliance.journal.schema import MIGRATIONS, bring_to, set_meta
from appliance.reasons import Outcome
from appliance.records import Arrival, FileIdentity
from appliance.shown import Label, Shown
from appliance.state_disk import StateDisk

T = TypeVar("T")

_UNDOES: Final = {Mark.TAKEN_BACK: Mark.ACKNOWLEDGED, Mark.UNSEEN: Mark.SEEN}

_COVER = (
    "UPDATE finding SET attention = 0, mark_id = :mark WHERE attention AND (outcome = 'flagged') = :flagged"
    " AND id <= COALESCE(:upto, id) AND series_id IN (SELECT id FROM series WHERE study_id = :study)"
    " RETURNING reading_key"
)

# What a newer revision has superseded is seen for good; a flag is not.
_UNDO = (
    "UPDATE finding SET attention = 1, mark_id = NULL"
    " WHERE mark_id IN (SELECT id FROM mark WHERE study_id = :study AND action = :action)"
    " AND (outcome = 'flagged' OR NOT EXISTS"
    " (SELECT 1 FROM finding n WHERE n.series_id = finding.series_id AND n.revision > finding.revision))"
    " RETURNING reading_key"
)


class Journal:
    """The one writer, for any thread of the daemon. Every write waits for a disk that refuses."""

    def __init__(self, path: Path, disk: StateDisk | None = None) -> None:
        """Open or create the journal; raises JournalError when it cannot be used."""
        self._lock = threading.Lock()
        self._disk = disk or StateDisk()
        self.path = path
        try:
            self._db = connect(path.absolute().as_uri())
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
            self._transact(partial(bring_to, number + 1))

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
        self._write(lambda db: set_meta(db, key, value))

    def known_files(self) -> Iterator[KnownFile]:
        """Every path that was read into a series that ended, or is none of ours."""
        last = b""
        while True:
            with self._lock:
                rows = self._db.execute(
                    "SELECT file.path, size, mtime_ns, inode, kind, series_id, COALESCE(changed_ns, 0)"
                    " FROM file LEFT JOIN series ON series.id = series_id"
                    " LEFT JOIN passed ON passed.path = file.path"
                    " WHERE file.path > ? AND (series_id IS NULL OR ended) ORDER BY file.path LIMIT ?",
                    (last, MANY),
                ).fetchall()
            if not rows:
                return
            for path, size, mtime_ns, inode, *rest in rows:
                yield KnownFile(os.fsdecode(path), FileIdentity(size, mtime_ns, inode), *rest)
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
            return not_on_record(self._db, paths)

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
        self,
        subject: str,
        study_uid: str | None,
        stack: int = 1,
        *,
        shown: Shown | None = None,
        ended: bool = False,
    ) -> SeriesRow:
        """The row of a series, made when it is seen for the first time, in flight or `ended`."""
        with self._lock:
            row = self._series_row(subject, stack)
        if row is not None:
            return row

        def insert(db: sqlite3.Connection) -> SeriesRow | None:
            what = shown or Shown()
            db.execute(
                "INSERT INTO series (subject, stack, study_uid, first_seen_at, ended, station, label, number,"
                " kernel) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    subject,
                    stack,
                    study_uid,
                    utc_now(),
                    ended,
                    what.station,
                    what.label,
                    what.number,
                    what.kernel,
                ),
            )
            return self._series_row(subject, stack)

        row = self._write(insert)
        assert row is not None
        return row

    def _series_row(self, subject: str, stack: int) -> SeriesRow | None:
        row = self._db.execute(
            f"SELECT {SERIES_COLUMNS}"  # noqa: S608
            " FROM series WHERE subject = ? AND stack = ?",
            (subject, stack),
        ).fetchone()
        return None if row is None else series_row(row)

    def show_as(self, series_id: int, shown: Shown) -> None:
        """What people tell a series by, for a row that was made without."""
        self._execute(
            "UPDATE series SET station = ?, label = ?, number = ?, kernel = ? WHERE id = ?",
            shown.station,
            shown.label,
            shown.number,
            shown.kernel,
            series_id,
        )

    def narrow_labels(self, label: Label) -> None:
        """Keep no more of a label than is to be shown from now on."""
        match label:
            case "none":
                self._execute("UPDATE series SET label = '' WHERE label != ''")
            case "accession_end":
                self._execute(
                    "UPDATE series SET label = '…' || substr(label, -4)"
                    " WHERE label != '' AND label NOT LIKE '…%'"
                )
            case "accession":
                pass

    def mark(self, study: int, action: Mark, name: str, upto: int | None = None) -> int:
        """Somebody acknowledged a study, has seen what was not analysed in it, or takes that back.

        It covers the findings up to the one with the id `upto`, those current now where that is None. Returns
        how many it changed; without any, nothing is written.
        """

        return self._write(lambda db: _mark(db, study, action, name, upto))

    def mark_files(self, name: str, upto: int | None = None) -> int:
        """Somebody has seen all the files that belong to no series; as `mark` does for each of them."""
        query = (
            "SELECT DISTINCT s.study_id FROM finding f JOIN series s ON s.id = f.series_id"
            " WHERE f.attention AND s.study_uid IS NULL"
        )

        def change(db: sqlite3.Connection) -> int:
            return sum(_mark(db, row[0], Mark.SEEN, name, upto) for row in db.execute(query).fetchall())

        return self._write(change)

    def note_audit(self, event: str, **what: object) -> None:
        """Something happened that the audit log is to keep."""
        self._write(lambda db: _note(db, event, at=utc_now(), **what))

    def audit_waiting(self) -> list[tuple[int, str]]:
        """The lines that are not known to be in the audit log, oldest first."""
        with self._lock:
            return self._db.execute("SELECT id, entry FROM audit ORDER BY id LIMIT ?", (MANY,)).fetchall()

    def audit_written(self, upto: int) -> None:
        """They are in the audit log up to this number, which is remembered: lines at its end may vanish."""

        def written(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM audit WHERE id <= ?", (upto,))
            set_meta(db, AUDIT_UPTO, str(upto))

        self._write(written)

    def drop_audit(self) -> None:
        """What was noted is in the audit log from another journal."""
        self._execute("DELETE FROM audit")

    def number_audit_after(self, last: int) -> None:
        """The lines noted from now on have numbers above this one, as a journal that was made again must."""

        def number(db: sqlite3.Connection) -> None:
            if (
                db.execute(
                    "UPDATE sqlite_sequence SET seq = MAX(seq, ?) WHERE name = 'audit'", (last,)
                ).rowcount
                < 1
            ):
                db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('audit', ?)", (last,))

        self._write(number)

    def mark_again(self, action: Mark, name: str, at: str, reading_keys: Sequence[str]) -> None:
        """What somebody did about these findings, taken over from the audit log."""

        def change(db: sqlite3.Connection) -> None:
            found = [
                row
                for key in reading_keys
                for row in db.execute(
                    "SELECT f.id, study_id FROM finding f JOIN series s ON s.id = series_id"
                    " WHERE attention AND reading_key = ?",
                    (key,),
                )
            ]
            for study in sorted({study for _, study in found}):
                mark_id = db.execute(
                    "INSERT INTO mark (at, action, study_id, name) VALUES (?, ?, ?, ?)",
                    (at, action, study, name),
                ).lastrowid
                covered = [(mark_id, finding) for finding, of_study in found if of_study == study]
                db.executemany("UPDATE finding SET attention = 0, mark_id = ? WHERE id = ?", covered)

        self._write(change)

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
                _note(
                    db,
                    "finding",
                    at=record.recorded_at,
                    study=record.study_uid,
                    series=record.series_uid,
                    stack=record.stack,
                    revision=record.revision,
                    outcome=record.outcome,
                    reason=record.reason,
                    reading_key=record.reading_key,
                    model=(record.model or {}).get("digest"),
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

    def try_again(self, subjects: Sequence[str], at: str, *, asked_by: str | None = None) -> int:
        """Have these series that ended read once more, from the time `at` on; how many there are.

        That somebody asked for it is kept with the study, and in the audit log.
        """

        def mark(db: sqlite3.Connection) -> int:
            changed = [
                db.execute(
                    "UPDATE series SET next_try_at = ? WHERE subject = ? AND ended", (at, subject)
                ).rowcount
                for subject in subjects
            ]
            if asked_by is not None and any(changed):
                again = [one for one, count in zip(subjects, changed, strict=True) if count]
                _note(db, "retry_asked", at=at, name=asked_by, series=[file_stem(one) for one in again])
                db.executemany(
                    "INSERT INTO mark (at, action, study_id, name) VALUES (?, ?, ?, ?)",
                    [(at, Mark.RETRIED, study, asked_by) for study in _studies_of(db, again)],
                )
            return sum(changed)

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
                f"SELECT {SERIES_COLUMNS}"  # noqa: S608
                " FROM series WHERE next_try_at <= ? OR next_try_at > ? ORDER BY next_try_at LIMIT ?",
                (now, latest, limit),
            ).fetchall()
        return [series_row(row) for row in rows]

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


def _mark(db: sqlite3.Connection, study: int, action: Mark, name: str, upto: int | None) -> int:
    at = utc_now()
    mark_id = db.execute(
        "INSERT INTO mark (at, action, study_id, name) VALUES (?, ?, ?, ?)", (at, action, study, name)
    ).lastrowid
    if action in _UNDOES:
        changed = db.execute(_UNDO, {"study": study, "action": _UNDOES[action]}).fetchall()
    else:
        values = {"study": study, "mark": mark_id, "upto": upto, "flagged": action is Mark.ACKNOWLEDGED}
        changed = db.execute(_COVER, values).fetchall()
    if changed:
        study_uid = db.execute("SELECT study_uid FROM series WHERE id = ?", (study,)).fetchone()[0]
        keys = sorted(row[0] for row in changed)
        _note(db, action, at=at, study=study_uid, name=name, findings=keys)
    else:
        db.execute("DELETE FROM mark WHERE id = ?", (mark_id,))
    return len(changed)


def _studies_of(db: sqlite3.Connection, subjects: Iterable[str]) -> list[int]:
    """The studies of these series, each once."""
    query = "SELECT study_id FROM series WHERE subject = ?"
    return sorted({row[0] for subject in subjects for row in db.execute(query, (subject,))})


def _note(db: sqlite3.Connection, event: str, **what: object) -> None:
    entry = json.dumps({"event": event, **what}, ensure_ascii=False, separators=(",", ":"))
    db.execute("INSERT INTO audit (entry) VALUES (?)", (entry,))


def _put_files(db: sqlite3.Connection, files: Sequence[KnownFile]) -> None:
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
    db.executemany(
        "INSERT OR REPLACE INTO passed VALUES (?, ?)",
        ((os.fsencode(one.path), one.changed_ns) for one in files if one.kind == OTHER),
    )


def _append(db: sqlite3.Connection, events: Iterable[Event]) -> None:
    db.executemany(
        "INSERT INTO event (at, name, label, label2, value) VALUES (?, ?, ?, ?, ?)",
        ((utc_now(), e.name, e.label, e.label2, e.value) for e in events),
    )
