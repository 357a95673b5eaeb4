"""A journal that a newer version has changed, brought back to what this version can read.

A migration keeps the journal from before it as `journal.vN.bak`. That is put back, and the newer one kept
aside. What was done in between is in the results folder: `rebuild.take_findings` takes it over.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from appliance import durable
from appliance.clock import utc_now
from appliance.journal import MANY, MIGRATIONS, Journal, KnownFile, is_damage
from appliance.records import FileIdentity


class RollbackError(Exception):
    """The journal cannot be brought back; the message is one sentence with what to do."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The backup that the journal is now, and where the newer journal is kept."""

    backup: Path
    aside: Path


def restore(journal: Path, take_over: Callable[[Journal], object] = lambda journal: None) -> Restored | None:
    """Put the newest backup that this version reads in place of a journal that it does not read.

    `take_over` completes it with what was done since, before it is in place; which files were read since then
    the newer journal says. None where the journal can be read as it is. No daemon may run. Raises
    RollbackError.
    """
    try:
        if _is_readable(journal):
            return None
        backup = next((one for one in _backups(journal) if _is_readable(one)), None)
        if backup is None:
            raise RollbackError(
                f"The journal {journal} was changed by a newer version, and no backup beside it can be read"
                " either: go on with the newer version."
            )
        _gather(journal)
        return Restored(backup, _swap(journal, backup, take_over))
    except (OSError, sqlite3.Error) as error:
        if is_damage(error):
            raise RollbackError(f"The journal {journal} is damaged: run scanlight rebuild.") from error
        raise RollbackError(
            f"The journal {journal} cannot be brought back ({error}): check the disk and its permissions."
        ) from error


def _is_readable(path: Path) -> bool:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        oldest = db.execute("SELECT value FROM meta WHERE key = 'min_reader'").fetchone()
    return min(version, int(oldest[0]) if oldest else version) <= len(MIGRATIONS)


def _backups(journal: Path) -> list[Path]:
    """Newest schema first."""
    found = journal.parent.glob(f"{journal.stem}.v*.bak")
    return sorted(found, key=lambda path: int(path.suffixes[0].removeprefix(".v")), reverse=True)


def _gather(journal: Path) -> None:
    """Everything into the one file: what is still in the write-ahead log would stay behind."""
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA journal_mode=DELETE")


def _swap(journal: Path, backup: Path, take_over: Callable[[Journal], object]) -> Path:
    """At any moment there is a journal, the newer one or the backup with all that was done since."""
    aside = journal.with_suffix(f".{utc_now().replace(':', '')}.aside")
    copy = journal.with_name(f".{journal.name}.restored")
    for end in ("-wal", "-shm"):
        Path(f"{copy}{end}").unlink(missing_ok=True)
    shutil.copyfile(backup, copy)
    with closing(Journal(copy)) as completed:
        take_over(completed)
        _take_files(journal, completed)
    with copy.open("rb+") as file:
        os.fsync(file.fileno())
    aside.hardlink_to(journal)
    durable.sync_folder(journal.parent)
    copy.replace(journal)
    durable.sync_folder(journal.parent)
    return aside


def _take_files(newer: Path, journal: Journal) -> None:
    """The files of the series that ended, so that nobody reads them again. Schemas only ever grow."""
    with closing(sqlite3.connect(f"{newer.absolute().as_uri()}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT path, size, mtime_ns, inode, kind, subject, stack, study_uid FROM file"
            " LEFT JOIN series ON series.id = series_id WHERE series_id IS NULL OR ended"
        )
        while batch := rows.fetchmany(MANY):
            journal.add_files(
                [
                    KnownFile(
                        os.fsdecode(path),
                        FileIdentity(*identity),
                        kind,
                        None if subject is None else journal.series(subject, study, stack, ended=True).id,
                    )
                    for path, *identity, kind, subject, stack, study in batch
                ]
            )
