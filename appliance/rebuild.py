"""Rebuilding a journal that is damaged or gone.

What was done is in the results folder and in the objects, what arrived is in the export folder. Nothing is
delivered twice, since a revision keeps its number and bytes; nothing old becomes new, since the moment of the
installation is kept; and where it cannot be told whether a file was part of a finding, it is read again,
which changes nothing if it was.
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from appliance import durable
from appliance.audit import AuditDamaged, AuditLog, entries
from appliance.clock import utc_now, utc_text
from appliance.config import Config
from appliance.delivery import results_folder
from appliance.findings.identity import result_name
from appliance.findings.objects import ObjectStore
from appliance.findings.record import SeriesRecord, printable
from appliance.imaging.isolation import SlicePool
from appliance.imaging.slices import NotDicom
from appliance.intake import folder
from appliance.intake.installation import Installation
from appliance.journal import (
    BACKLOG,
    OTHER,
    Event,
    Journal,
    JournalDamaged,
    JournalError,
    KnownFile,
    Mark,
    is_blank,
    is_damage,
)
from appliance.reasons import Reason
from appliance.records import Arrival, Slice, SlicePlan
from appliance.shown import Shown, shown
from appliance.state_disk import StateDisk
from appliance.state_folder import StateFolder

HELD_BACK = b"The journal is being rebuilt: run scanlight rebuild again.\n"
"""Stands in place of the journal between the old and the new one, so that no daemon starts on neither."""

HEADERS_ONLY = SlicePlan.headers(follow_links=False)

Progress = Callable[[str, int], None]
"""Told what is going on and how much of it is done."""


class NothingToRebuild(Exception):
    """The journal is in order."""


@dataclass(slots=True)
class Rebuilt:
    """What came of it: series, revisions and files taken over, files to be read, and all that were seen.

    `aside` is where the damaged journal is kept; `unreadable` are records that are damaged themselves.
    """

    aside: Path | None = None
    series: int = 0
    revisions: int = 0
    files: int = 0
    to_read: int = 0
    seen: int = 0
    unreadable: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Revision:
    record: SeriesRecord
    content: bytes
    delivered: bool


Subject = tuple[str, int]
"""A series UID or the path of a file, and the stack."""


def rebuild(
    config: Config, progress: Progress = lambda what, done: None, *, accept_folder: bool = False
) -> Rebuilt:
    """Make a new journal and keep the old one aside.

    Raises NothingToRebuild, StateFolderError when a daemon runs, JournalError, OSError, and FolderDown when
    the export folder is not there, or is not the one from which the findings came: `accept_folder` takes it
    as it is.
    """
    state = StateFolder(config.state_folder)
    with closing(state.take(config.results)):
        if _in_order(state.journal):
            raise NothingToRebuild(f"The journal {state.journal} is in order: nothing was changed.")
        expected = None if accept_folder else _kept(state, "export_mount")
        mount = folder.check(config.export_folder, expected)
        installed_at = _installed_at(state)
        made = state.path / "journal.rebuilt.db"
        _remove(made)
        rebuilt = Rebuilt()
        with closing(Journal(made)) as journal:
            journal.set_meta("created_at", utc_text(installed_at))
            current = take_findings(config, journal, rebuilt, progress)
            _take_marks(state.audit, journal, rebuilt)
            _take_files(config, journal, current, installed_at, rebuilt, progress)
            if not accept_folder and not rebuilt.seen and any(one.slices for one in current.values()):
                raise folder.FolderDown(
                    "export_folder_down",
                    f"There are findings, and the export folder {config.export_folder} is empty: mount it, or"
                    " say with --accept-folder that its files were deleted.",
                )
            if rebuilt.seen:
                journal.set_meta("export_mount", mount)
                journal.set_meta("first_scan_at", utc_now())
        rebuilt.aside = _exchange(state.journal, made)
        return rebuilt


def _in_order(path: Path) -> bool:
    try:
        if is_blank(path):
            return False
        Journal(path).close()
    except JournalDamaged:
        return False
    except sqlite3.Error as error:
        if is_damage(error):
            return False
        raise NothingToRebuild(f"The journal {path} cannot be read ({error}): check the disk.") from error
    except JournalError as error:
        raise NothingToRebuild(str(error)) from error
    return True


def _installed_at(state: StateFolder) -> datetime:
    """When this installation first started: as a damaged journal says, or since the lock has been there."""
    kept = _kept(state, "created_at")
    if kept is not None:
        with suppress(ValueError):
            return datetime.fromisoformat(kept)
    return datetime.fromtimestamp((state.path / "lock").stat().st_mtime, UTC)


def _kept(state: StateFolder, key: str) -> str | None:
    """What a damaged journal still says, the one in place or one that was kept aside."""
    for path in (state.journal, *sorted(state.path.glob("journal.damaged-*.db"), reverse=True)):
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as damaged,
        ):
            found = damaged.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            if found is not None and isinstance(found[0], str) and found[0]:
                return found[0]
    return None


def take_findings(
    config: Config, journal: Journal, rebuilt: Rebuilt, progress: Progress = lambda what, done: None
) -> dict[Subject, SeriesRecord]:
    """Every revision that the journal lacks, as delivered or to be delivered; returns the current ones."""
    folder_of_objects = StateFolder(config.state_folder).objects
    objects = ObjectStore(folder_of_objects, StateDisk())
    current: dict[Subject, SeriesRecord] = {}
    found = _revisions(config.results, folder_of_objects, rebuilt)
    for done, (subject, revisions) in enumerate(found.items(), 1):
        progress("Taking over findings", done)
        name, stack = subject
        row = journal.series(name, revisions[0].record.study_uid, stack)
        known = journal.current(row.id)
        for one in revisions:
            record = one.record
            if known is not None and (record.revision or 1) <= (known.revision or 1):
                continue
            stored = objects.put(one.content, ".json")
            result = result_name(name, stack, record.revision or 1)
            known_before = record.reason is Reason.BEFORE_INSTALLATION
            journal.end(
                row.id,
                [],
                [Event("series", record.outcome or "", record.reason or ""), *_scored(record)],
                finding=(record, stored, [] if known_before else [(results_folder.DESTINATION, result)]),
            )
            rebuilt.revisions += 1
        for delivery in journal.open_deliveries():
            if (config.results / delivery.name).exists():
                journal.settle_delivery(delivery, delivered=True)
        current[subject] = revisions[-1].record
        rebuilt.series += 1
    return current


def _take_marks(audit: Path, journal: Journal, rebuilt: Rebuilt) -> None:
    """What people acknowledged and saw, as far as the audit log tells."""
    standing: dict[str, tuple[Mark, str, str]] = {}
    try:
        for entry in entries(audit):
            match entry:
                case {"event": Mark.ACKNOWLEDGED | Mark.SEEN, "name": name, "at": at, "findings": keys}:
                    standing |= dict.fromkeys(keys, (Mark(entry["event"]), name, at))
                case {"event": Mark.TAKEN_BACK | Mark.UNSEEN, "findings": keys}:
                    for key in keys:
                        standing.pop(key, None)
    except FileNotFoundError:
        pass
    except AuditDamaged:
        # What was acknowledged may have been taken back behind the damage.
        standing.clear()
        rebuilt.unreadable.append(audit)
    marks: dict[tuple[Mark, str, str], list[str]] = defaultdict(list)
    for key, mark in standing.items():
        marks[mark].append(key)
    for (action, name, at), keys in sorted(marks.items(), key=lambda one: one[0][2]):
        journal.mark_again(action, name, at, keys)
    journal.drop_audit()
    with closing(AuditLog(audit, StateDisk())) as log:
        journal.number_audit_after(log.last)
    journal.note_audit("journal_rebuilt", series=rebuilt.series, revisions=rebuilt.revisions)


def _scored(record: SeriesRecord) -> Iterator[Event]:
    if record.completed_by is not None:
        yield Event("completed", record.completed_by)
    if record.probability is not None:
        yield Event("probability", value=record.probability)


def _revisions(results: Path, objects: Path, rebuilt: Rebuilt) -> dict[Subject, list[_Revision]]:
    """The revisions of each subject, in order. What was delivered counts; of what was not, the last."""
    found: dict[Subject, dict[int, _Revision]] = defaultdict(dict)
    for path in (*sorted(results.glob("[!.]*.json")), *sorted(objects.glob("[!.]*.json"))):
        try:
            content = path.read_bytes()
            record = SeriesRecord.from_json(content.decode())
        except (OSError, ValueError, TypeError):
            rebuilt.unreadable.append(path)
            continue
        subject = record.series_uid or record.path
        if subject is None or record.revision is None or record.reading_key is None:
            rebuilt.unreadable.append(path)
            continue
        one = _Revision(record, content, delivered=path.parent == results)
        known = found[subject, record.stack].get(record.revision)
        if known is None or (not known.delivered and _moment(known.record) < _moment(record)):
            found[subject, record.stack][record.revision] = one
    return {subject: list(_distinct(revisions)) for subject, revisions in sorted(found.items())}


def _distinct(revisions: dict[int, _Revision]) -> Iterator[_Revision]:
    """In their order, each reading once: an object may have been made again after a crash."""
    keys: set[str | None] = set()
    for number in sorted(revisions, key=lambda n: (not revisions[n].delivered, n)):
        if revisions[number].record.reading_key in keys:
            del revisions[number]
        else:
            keys.add(revisions[number].record.reading_key)
    yield from (revisions[number] for number in sorted(revisions))


def _moment(record: SeriesRecord) -> str:
    return record.recorded_at or ""


@dataclass(slots=True)
class _Found:
    """The files of one subject, and its instances."""

    files: list[Arrival] = field(default_factory=list)
    instances: set[str] = field(default_factory=set)
    shown: Shown | None = None


def _take_files(
    config: Config,
    journal: Journal,
    current: dict[Subject, SeriesRecord],
    installed_at: datetime,
    rebuilt: Rebuilt,
    progress: Progress,
) -> None:
    """Which files belong to the findings, which are old, which none of ours; the rest will be read."""
    series: dict[str, _Found] = defaultdict(_Found)
    others: list[KnownFile] = []
    with SlicePool(config.workers, config.worker_memory_mb, config.worker_timeout_s) as pool:
        headers = pool.read_all(folder.scan(config.export_folder), HEADERS_ONLY, 4 * config.workers)
        for done, (one, result) in enumerate(headers, 1):
            progress("Reading headers", done)
            rebuilt.seen = done
            match result:
                case Slice(header=header):
                    series[header.series_uid].files.append(one)
                    series[header.series_uid].shown = shown(result, config.label)
                    series[header.series_uid].instances.add(header.sop_instance_uid)
                case NotDicom():
                    others.append(KnownFile(str(one.path), one.identity, OTHER, None, one.changed_ns))
                case _:
                    series[printable(str(one.path.relative_to(config.export_folder)))].files.append(one)
    installation = Installation.of(installed_at, config.backlog_h)
    for subject, found in series.items():
        record = current.get((subject, 1))
        if record is not None and _is_all_of_it(record, found):
            row = journal.series(subject, record.study_uid)
            if found.shown is not None:
                journal.show_as(row.id, found.shown)
            kind = "slice" if found.instances else "unreadable"
            others += [KnownFile(str(one.path), one.identity, kind, row.id) for one in found.files]
            rebuilt.files += len(found.files)
            continue
        old = [one for one in found.files if not _came_after(one, installation, record)]
        others += [KnownFile(str(one.path), one.identity, BACKLOG, None) for one in old]
        rebuilt.to_read += len(found.files) - len(old)
    journal.add_files(others)


def _came_after(one: Arrival, installation: Installation, record: SeriesRecord | None) -> bool:
    """Of a series that was left alone, an old file was there before, whoever touched its inode since."""
    left_alone = record is not None and record.reason is Reason.BEFORE_INSTALLATION
    return installation.came_after(replace(one, changed_ns=0) if left_alone else one)


def _is_all_of_it(record: SeriesRecord, found: _Found) -> bool:
    """Whether these files are what the finding was read from: as many, and none written since."""
    end = record.complete_at or record.recorded_at
    if end is None or (found.instances and len(found.instances) != record.slices):
        return False
    moment = datetime.fromisoformat(end).timestamp()
    return all(max(one.identity.mtime_ns, one.changed_ns) / 1e9 <= moment for one in found.files)


def _exchange(journal: Path, made: Path) -> Path | None:
    """Put the new journal in place of the old one, which is kept aside; in between, none can be opened."""
    aside = None
    if journal.exists() and journal.read_bytes()[: len(HELD_BACK)] != HELD_BACK:
        stamp = utc_now().replace(":", "").replace(".", "")
        aside = journal.with_name(f"journal.damaged-{stamp}.db")
        for end in ("", "-wal"):
            with suppress(FileNotFoundError):
                os.link(f"{journal}{end}", f"{aside}{end}")
    durable.write(journal, HELD_BACK)
    for end in ("-wal", "-shm"):
        Path(f"{journal}{end}").unlink(missing_ok=True)
    durable.sync_folder(journal.parent)
    made.replace(journal)
    durable.sync_folder(journal.parent)
    return aside


def _remove(made: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{made}{end}").unlink(missing_ok=True)
