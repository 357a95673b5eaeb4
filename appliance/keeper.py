"""The keeper of the series in flight: feeds their state machines and carries out what these ask for.

Owned by the main loop. It decides nothing about completeness (`lifecycle` does) and writes nothing itself
(`recorder` does).
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from appliance import logs
from appliance.clock import utc_in, utc_now
from appliance.facts import InProgress
from appliance.faults import reach
from appliance.findings.record import SeriesRecord, printable
from appliance.in_flight import InFlight
from appliance.intake import folder
from appliance.intake.completeness import CompletedBy, Pace, Sentinel
from appliance.intake.desk import IntakeDesk, SliceTaken
from appliance.intake.grouping import Copy
from appliance.intake.watch import OddSeen
from appliance.journal import Journal, KnownFile, SeriesRow
from appliance.lifecycle import (
    Action,
    Evidence,
    Life,
    Phase,
    ReadingDone,
    ReadingDoubted,
    ReadingLost,
    SliceArrived,
    Tick,
    advance,
    next_tick,
)
from appliance.lifecycle import Event as LifeEvent
from appliance.reader import FilesChanged, Job, ReadingFinished
from appliance.reading import ModelInUse, Reading, Rules, engine_failed, failed, key_of, unread_record
from appliance.reasons import Outcome, Reason
from appliance.recorder import LONGEST_DELAY_S, Recorder, is_current
from appliance.records import Arrival, Problem, Slice
from appliance.shown import Shown
from engines.protocol import EngineError

SENTINELS_KEPT = 1000
AGAIN_AT_ONCE = 4
"""So many series that ended are read again at a time."""

ANSWERS_FAILED = "known_answers_failed_at"
"""Set in the journal from a failure of the known answers until they pass again."""

BEFORE_INSTALLATION = Problem(
    Reason.BEFORE_INSTALLATION,
    "It was in the export folder before Scanlight was installed and is left alone.",
)
FILES_GONE = Problem(
    Reason.FILES_GONE,
    "The files vanished from the export folder before they were read: export the series again.",
)


class Keeper:
    """`submit` hands a job to the engine thread, `changed` is called when a series ended, and `look` asks for
    a look at the export folder, of which `looked` is to tell. `show` says what is kept of a series' origin.

    `progress` is called between the parts of a long step, such as many series that end together;
    `keep_images` gets what was read, with the record that it has come to.
    """

    def __init__(
        self,
        journal: Journal,
        recorder: Recorder,
        desk: IntakeDesk,
        rules: Rules,
        pace: Pace,
        model: ModelInUse,
        submit: Callable[[Job], None],
        changed: Callable[[], None],
        look: Callable[[], None],
        show: Callable[[Slice], Shown],
        *,
        export_folder: Path,
        sentinel: Sentinel | None,
        tries: int,
        memory_budget: int,
        progress: Callable[[], None] = lambda: None,
        keep_images: Callable[[SeriesRecord, Reading], None] = lambda *_: None,
    ) -> None:
        self._journal = journal
        self._recorder = recorder
        self._desk = desk
        self.rules = rules
        self._pace = pace
        self._submit = submit
        self._changed = changed
        self._look = look
        self.show = show
        self._export_folder = export_folder
        self._sentinel = sentinel
        self.tries = tries
        self.memory_budget = memory_budget
        self._progress = progress
        self._keep_images = keep_images
        self.model = model
        self._series: dict[str, InFlight] = {}
        self._jobs: dict[int, InFlight] = {}
        self._files_again: dict[Path, int] = {}
        self._looked = (-math.inf, -math.inf)
        self._look_asked = -math.inf
        self._job_number = 0
        self._sentinels: OrderedDict[Path, tuple[Path, float]] = OrderedDict()

    # What the main loop tells

    def keep_pace(self, pace: Pace) -> None:
        """When a series counts as complete, from now on."""
        self._pace = pace

    def take(self, taken: SliceTaken) -> None:
        """A slice came, of a series that is in flight, new, or ended before."""
        self.file_settled(taken.slice.arrival.path)
        header = taken.slice.header
        if taken.old:
            self._leave_alone(taken.slice)
            return
        one = self._series.get(header.series_uid)
        if one is None:
            row = self._journal.series(header.series_uid, header.study_uid, shown=self.show(taken.slice))
            reach("series.seen")
            life = Life.begin(taken.seen_at)
            if row.ended:
                life = replace(life, phase=Phase.ENDED)
            one = self._series[header.series_uid] = InFlight(
                row, header.study_uid, life, self.rules, taken.seen_at
            )
            logs.event("series_seen", series=header.series_uid, known=row.ended)
        again = taken.slice.arrival.path in one.awaited
        copy = one.take(taken.slice)
        kind = {Copy.NEW: "slice", Copy.SAME: "duplicate"}.get(copy, "replaced")
        self._recorder.count("files", "read_again" if again else kind)
        unchanged = copy in (Copy.SAME, Copy.OUTDATED) and taken.slice.problem is None
        if unchanged and one.life.phase is not Phase.ENDED:
            return
        one.last_slice_at = utc_now()
        self._step(one, SliceArrived(taken.seen_at))
        if one.count_reached:
            self._step(one, Evidence(CompletedBy.COUNT))
        if self._sentinels:
            for folder_ in self._of_study(one) & self._sentinels.keys():
                path, seen_at = self._sentinels[folder_]
                if taken.seen_at <= seen_at:
                    self._obey(path, one)

    def odd_seen(self, seen: OddSeen) -> None:
        """Something that is no regular file ends on its own, unless it was there before the installation."""
        subject = self._subject(seen.arrival)
        left = unread_record(BEFORE_INSTALLATION, path=subject, identity=seen.arrival.identity)
        row = self._journal.series(subject, None)
        if self._desk.is_old(seen.arrival, lay_there=seen.lay_there):
            self._ended(subject, self._recorder.record_unread(row, left, [], deliver=False))
        elif is_current(self._journal.current(row.id), left.reading_key or ""):
            self._journal.end(row.id, [], [])
        else:
            self._end_file(seen.arrival, seen.problem, known=False)

    def sentinel_seen(self, path: Path, seen_at: float) -> None:
        """A sentinel covers what was seen before it, also what is still to be parsed."""
        self._sentinels[path.parent] = path, seen_at
        self._sentinels.move_to_end(path.parent)
        if len(self._sentinels) > SENTINELS_KEPT:
            self._sentinels.popitem(last=False)
        for one in list(self._series.values()):
            self._obey(path, one)

    def relabel(self) -> None:
        """The labels of series in flight are as the journal has them now."""
        for one in self._series.values():
            one.row = self._journal.series(one.row.subject, one.study_uid)

    def tick(self, now: float) -> None:
        for one in list(self._series.values()):
            due = next_tick(one.life, self._pace)
            if due is not None and now >= due:
                self._step(one, Tick(now, self._blocked(one, now, due)))
        # A folder that is not there makes no file bad.
        for arrival, problem in self._desk.overdue(self._looked[0], self._pace.ceiling_s):
            self._end_file(arrival, problem)

    def looked(self, began: float, ended: float) -> None:
        """A look at the export folder told of all that lay there when it began."""
        self._looked = began, ended

    def reading_finished(self, finished: ReadingFinished) -> None:
        one = self._jobs.pop(finished.job.number)
        one.job = None
        for path in finished.vanished:
            one.forget_name(path)
        if isinstance(finished.result, FilesChanged):
            self._step(one, ReadingLost())
            # What changes counts as what comes.
            self._step(one, SliceArrived(time.monotonic()))
            for current in finished.result.files:
                one.drop(current.path)
                self._ask_again(one, current)
            return
        if finished.job.reading is not None:
            self._step(one, ReadingDone(flagged=False))
            return
        one.queue_ms = finished.queue_ms
        success = not isinstance(finished.result, EngineError)
        self._journal.settle_try(one.row.id, success=success)
        reach("try.settled")
        if isinstance(finished.result, EngineError):
            logs.event("engine_error", logging.ERROR, series=one.row.subject, why=str(finished.result))
            if self._journal.series(one.row.subject, one.study_uid).tries < self.tries:
                self._step(one, ReadingLost())
                return
            one.reading = failed(engine_failed(finished.result), finished.job.slices)
        else:
            one.reading = finished.result
        self._step(one, ReadingDone(one.reading.outcome is Outcome.FLAGGED))
        if one.life.phase is Phase.PROVISIONAL:
            self._journal.set_provisional(one.row.id, True)

    def housekeep(self) -> None:
        """Once a second: read again what is due, stay within the memory."""
        room = AGAIN_AT_ONCE - sum(one.retry for one in self._series.values())
        for row in self._journal.due_tries(utc_now(), utc_in(LONGEST_DELAY_S), max(0, room)):
            if row.subject not in self._series:
                self._try_again(row)
        self._keep_within_memory()

    def file_gone(self, arrival: Arrival) -> None:
        """A file could not be read again, since it is not there any more."""
        self.file_settled(arrival.path)
        for one in self._series.values():
            if arrival.path in one.awaited:
                one.awaited.discard(arrival.path)
                one.missing[arrival.path] = arrival.identity
                one.missed_at = time.monotonic()

    def file_settled(self, path: Path) -> None:
        """A file that was tried again is no failure any more, or gone: what is on record stands."""
        row_id = self._files_again.pop(path, None)
        if row_id is not None:
            self._journal.end(row_id, [], [])

    def confirm(self, at: str) -> None:
        """The known answers pass, and so does what was read since; after a failure it is read again first."""
        if self._journal.meta(ANSWERS_FAILED):
            again = self._journal.try_again(self._journal.unconfirmed(), at)
            self._journal.set_meta(ANSWERS_FAILED, "")
            logs.event("readings_repeated", logging.WARNING, series=again)
        else:
            self._journal.confirm(at)

    def doubt(self) -> None:
        """The known answers fail: nothing that was read since they passed counts as confirmed, or is told."""
        self._journal.set_meta(ANSWERS_FAILED, utc_now())
        for one in self._series.values():
            self._step(one, ReadingDoubted())

    def end_vanished(self, in_flight: Iterable[SeriesRecord]) -> None:
        """After a first look at the whole folder: what was in flight before and is not there any more."""
        for seen in in_flight:
            self._progress()
            subject = seen.series_uid or seen.path or ""
            if subject in self._series or self._desk.holds(self._export_folder / subject):
                continue
            row = self._journal.series(subject, seen.study_uid)
            if self._journal.current(row.id) is not None:
                self._journal.end(row.id, [], [])
                continue
            record = unread_record(
                FILES_GONE, series_uid=seen.series_uid, study_uid=seen.study_uid, path=seen.path
            )
            self._ended(subject, self._recorder.record_unread(row, record, []))

    # What it tells

    def unaccounted(self, unknown: Iterable[Path]) -> int:
        """How many of these files are there, not on record and not on their way either: 0, or a fault."""
        in_flight = {path for one in self._series.values() for path in one.paths}
        lost = [
            str(path)
            for path in unknown
            if path not in in_flight
            and not self._desk.holds(path)
            and not (self._sentinel and self._sentinel.matches(path))
        ]
        return sum(folder.arrival(Path(path)) is not None for path in self._journal.not_on_record(lost))

    def in_progress(self, at_job: int | None) -> tuple[InProgress, ...]:
        """The series in flight, while the engine is at the job of this number."""
        return tuple(
            InProgress(
                one.row.subject,
                len(one.slices),
                one.stage(at_job),
                one.row.first_seen_at,
                one.row.study,
                one.row.station,
                one.row.label,
            )
            for one in self._series.values()
        )

    def oldest(self) -> float | None:
        """When the series that is in flight longest was seen."""
        return min((one.seen_at for one in self._series.values()), default=None)

    def queue_depth(self) -> dict[str, int]:
        return {"parse": len(self._desk), "infer": len(self._jobs)}

    # The life of a series

    def _step(self, one: InFlight, event: LifeEvent) -> None:
        one.life, action = advance(one.life, event, self._pace)
        match action:
            case Action.READ:
                self._read(one)
            case Action.CONFIRM:
                self._submit_job(one, one.reading)
            case Action.RECORD:
                self._record(one)
            case Action.DISCARD:
                if one.reading is not None:
                    self._recorder.count("readings_superseded")
                    self._journal.set_provisional(one.row.id, False)
                one.reading = None
            case Action.REOPEN:
                self._reopen(one)

    def _blocked(self, one: InFlight, now: float, due: float) -> bool:
        """Whether files that may belong to a series that seems complete are still to be parsed.

        A count needs no more than are read again, a sentinel came after all of them, and quiet after those
        seen until then. The ceiling needs a look at the folder since it passed: nothing else says that
        nothing came. So do files that are missing: it may be the folder that is.
        """
        if one.gone and (
            self._nobody_looked_since(one.missed_at, now) or self._desk.blocks(one.folders, now)
        ):
            return True
        if one.life.evidence is CompletedBy.COUNT:
            return any(map(self._desk.holds, one.awaited))
        told = one.life.phase is Phase.PROVISIONAL
        if one.life.evidence is CompletedBy.SENTINEL:
            return self._desk.blocks(one.folders, now) or (told and self._desk.awaits(one.folders, now))
        if not told:
            return self._desk.blocks(one.folders, due)
        if self._nobody_looked_since(due, now):
            return True
        return self._desk.blocks(one.folders, self._looked[1]) or self._desk.awaits(one.folders, due)

    def _nobody_looked_since(self, moment: float, now: float) -> bool:
        """Whether no look at the folder began since then; one is asked for."""
        if self._looked[0] >= moment:
            return False
        if self._look_asked < moment:
            self._look_asked = now
            self._look()
        return True

    def _obey(self, sentinel: Path, one: InFlight) -> None:
        assert self._sentinel is not None
        if self._sentinel.covers(sentinel, one.folders, self._of_study(one)):
            self._step(one, Evidence(CompletedBy.SENTINEL))

    def _of_study(self, one: InFlight) -> set[Path]:
        """The folders of all series in flight of its study."""
        return set[Path]().union(
            *(other.folders for other in self._series.values() if other.study_uid == one.study_uid)
        )

    def _read(self, one: InFlight) -> None:
        one.complete_at = utc_now()
        one.rules = self.rules
        if one.evicted:
            one.evicted = False
            for arrival, _ in list(one.paths.values()):
                one.drop(arrival.path)
                self._ask_again(one, arrival)
            self._step(one, ReadingLost())
            return
        row = self._journal.series(one.row.subject, one.study_uid)
        slices = tuple(one.slices.values())
        if one.gone or not slices:
            self._end_without_files(one, row)
        elif not one.retry and is_current(
            self._journal.current(row.id), key_of(slices, self.model.digest, one.rules)
        ):
            self._recorder.end_unchanged(one)
            self._ended(row.subject, None)
        elif row.tries >= self.tries and not one.retry:
            why = f"The process ended {row.tries} times in a row while the engine read this series."
            one.reading = failed(Problem(Reason.ENGINE_ERROR, why), slices)
            self._step(one, ReadingDone(flagged=False))
        else:
            self._submit_job(one)

    def _submit_job(self, one: InFlight, reading: Reading | None = None) -> None:
        """Have the series read, or with a reading only its files looked at once more."""
        self._job_number += 1
        one.job = self._job_number
        self._jobs[one.job] = one
        files = tuple(arrival for arrival, _ in one.paths.values())
        slices = tuple(one.slices.values())
        self._submit(Job(one.job, one.row.id, slices, files, time.monotonic(), one.rules, reading))

    def _reopen(self, one: InFlight) -> None:
        """A late slice of a series that ended, or another try: read its other files again."""
        self._journal.reopen(one.row.id)
        reach("series.reopened")
        for known in self._journal.files_of(one.row.id):
            path = Path(known.path)
            if path not in one.paths:
                self._ask_again(one, Arrival(path, known.identity))
        logs.event("series_reopened", series=one.row.subject)

    def _ask_again(self, one: InFlight, current: Arrival) -> None:
        one.asked_again = True
        one.awaited.add(current.path)
        one.folders.add(current.path.parent)
        self._desk.read_again(current, one.life.last_slice)

    def _try_again(self, row: SeriesRow) -> None:
        if row.study_uid is not None:
            now = time.monotonic()
            one = InFlight(row, row.study_uid, Life.begin(now), self.rules, now, retry=True)
            self._series[row.subject] = one
            self._reopen(one)
            return
        known = self._journal.files_of(row.id)
        self._journal.reopen(row.id)
        if not known:
            # The file belongs to a series by now.
            self._journal.end(row.id, [], [])
        for file in known:
            self._files_again[Path(file.path)] = row.id
            self._desk.read_again(Arrival(Path(file.path), file.identity), time.monotonic(), tries=1)

    def _keep_within_memory(self) -> None:
        """Drop the planes of the largest series that still receive, should all together take too much.

        The series that got the last slice is left, and those that are being read again for this very reason:
        two could drive out each other.
        """
        excess = sum(one.bytes for one in self._series.values()) - self.memory_budget
        if excess <= 0:
            return
        receiving = [one for one in self._series.values() if one.life.phase is Phase.RECEIVING]
        receiving.sort(key=lambda one: one.life.last_slice)
        held = [(one.bytes, one) for one in receiving[:-1] if not one.asked_again]
        for size, victim in sorted(held, key=lambda pair: pair[0], reverse=True):
            if excess <= 0:
                return
            victim.evict()
            excess -= size
            logs.event("series_evicted", series=victim.row.subject)

    # Endings

    def _record(self, one: InFlight) -> None:
        self._progress()
        record = self._recorder.record(one, self.model)
        # What is read once more has its images again.
        current = record or self._journal.current(one.row.id)
        if current is not None and one.reading is not None:
            self._keep_images(current, one.reading)
        self._ended(one.row.subject, record)

    def _end_without_files(self, one: InFlight, row: SeriesRow) -> None:
        """Files that a reading needs are gone: what is on record stands, else the series failed."""
        if self._journal.current(row.id) is not None:
            logs.event("files_gone_before_reading_again", logging.WARNING, series=row.subject)
            self._journal.never_confirmed(row.id)
            self._recorder.end_unchanged(one)
            self._ended(row.subject, None)
            return
        record = unread_record(FILES_GONE, series_uid=row.subject, study_uid=row.study_uid)
        self._ended(row.subject, self._recorder.record_unread(row, record, []))

    def _leave_alone(self, one: Slice) -> None:
        """A file from before the installation: its series is skipped, unless something new came of it."""
        header = one.header
        # Ended from the start: a restart would miss the files of one that is in flight.
        row = self._journal.series(header.series_uid, header.study_uid, shown=self.show(one), ended=True)
        self._recorder.note_file(one.arrival, "before_installation", row.id)
        if not row.ended or self._journal.current(row.id) is not None:
            return
        record = unread_record(BEFORE_INSTALLATION, series_uid=header.series_uid, study_uid=header.study_uid)
        self._ended(row.subject, self._recorder.record_unread(row, record, [], deliver=False))

    def _end_file(self, arrival: Arrival, problem: Problem, *, known: bool = True) -> None:
        """A file that belongs to no series ends on its own, under its path in the export folder.

        One that is `known` is tried again, and is not told of until it changes.
        """
        self._files_again.pop(arrival.path, None)
        subject = self._subject(arrival)
        row = self._journal.series(subject, None)
        record = unread_record(problem, path=subject, identity=arrival.identity)
        self._recorder.count("files", "unreadable")
        file = KnownFile(str(arrival.path), arrival.identity, "unreadable", row.id)
        self._ended(subject, self._recorder.record_unread(row, record, [file] if known else []))

    def _subject(self, arrival: Arrival) -> str:
        """A file that belongs to no series, by its path in the export folder."""
        return printable(str(arrival.path.relative_to(self._export_folder)))

    def _ended(self, subject: str, record: SeriesRecord | None) -> None:
        self._series.pop(subject, None)
        self._changed()
        if record is None:
            logs.event("series_unchanged")
            return
        logs.event(
            "finding",
            series=record.series_uid,
            revision=record.revision,
            outcome=record.outcome,
            reason=record.reason,
        )
