"""The keeper's account of the folder, with a real journal and a real desk."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pydicom
import pytest
from harness import uid_of
from poison import PoisonPool

from appliance.clock import utc_now
from appliance.findings.objects import ObjectStore
from appliance.intake import folder
from appliance.intake.completeness import Pace, Sentinel
from appliance.intake.desk import FileGone, IntakeDesk, SliceTaken
from appliance.intake.parsing import Parsed
from appliance.intake.watch import FilesSeen
from appliance.journal import Journal, JournalReader
from appliance.keeper import Keeper
from appliance.reader import FilesChanged, Job, ReadingFinished
from appliance.reading import ModelInUse, Reading, rules_for
from appliance.reasons import Outcome
from appliance.recorder import Recorder
from appliance.records import SlicePlan
from appliance.shown import shown
from appliance.state_disk import StateDisk
from engines.bundle import embedded_model, load_model


class Room:
    """A keeper with what it works with; `jobs` are what it handed to the engine, `looks` when it asked for
    one at the folder."""

    def __init__(self, tmp_path: Path, pool: PoisonPool, memory_budget: int = 2**30) -> None:
        self.export = tmp_path / "export"
        self.export.mkdir()
        (tmp_path / "objects").mkdir()
        model = load_model(embedded_model("densitometry"))
        rules = rules_for(model.spec)
        plan = SlicePlan.for_grid(model.spec.grid)
        self.posted: queue.Queue[Parsed] = queue.Queue()
        self.jobs: list[Job] = []
        self.looks: list[float] = []
        self.journal = Journal(tmp_path / "journal.db")
        self.recorder = Recorder(self.journal, ObjectStore(tmp_path / "objects", StateDisk()), 60)
        self.desk = IntakeDesk(pool, 1, plan, self.posted.put, tries=1, installation=None)
        self.keeper = Keeper(
            self.journal,
            self.recorder,
            self.desk,
            rules,
            Pace(),
            ModelInUse(model.spec, model.digest, None),
            self.jobs.append,
            lambda: None,
            lambda: self.looks.append(time.monotonic()),
            partial(shown, label="accession_end"),
            export_folder=self.export,
            sentinel=Sentinel("*.done"),
            tries=3,
            memory_budget=memory_budget,
        )

    def see(self, *paths: Path, at: float | None = None) -> None:
        arrivals = tuple(one for one in map(folder.arrival, paths) if one)
        self.desk.seen(FilesSeen(arrivals, time.monotonic() if at is None else at))

    def parse(self) -> None:
        while len(self.desk):
            taken = self.desk.parsed(self.posted.get(timeout=30))
            if isinstance(taken, SliceTaken):
                self.keeper.take(taken)
            elif isinstance(taken, FileGone):
                self.keeper.file_gone(taken.arrival)

    def bring(self, *files: Path, suffix: str = ".dcm", at: float | None = None) -> list[Path]:
        """Copy these files to the export folder, and have them read."""
        paths = [self.export / file.with_suffix(suffix).name for file in files]
        for path, file in zip(paths, files, strict=True):
            path.write_bytes(file.read_bytes())
        self.see(*paths, at=at)
        self.parse()
        return paths

    def answer(self, outcome: Outcome) -> None:
        """The engine thread is done with the newest job."""
        job = self.jobs[-1]
        reading = job.reading or Reading(outcome, None, None, None, None, {})
        self.keeper.reading_finished(ReadingFinished(job, reading, 0.0))

    @property
    def ended(self) -> bool:
        return not self.keeper.in_progress(None)

    def unknown(self) -> list[Path]:
        return [
            Path(path)
            for path in self.journal.not_on_record([str(one.path) for one in folder.scan(self.export)])
        ]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with PoisonPool() as pool:
        yield Room(tmp_path, pool)


def test_every_file_is_accounted_for_on_its_way_and_on_record(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    slices = []
    for file in small_chest("clear")[:3]:
        slices.append(room.export / file.name)
        slices[-1].write_bytes(file.read_bytes())
    bad, sentinel, gone = (room.export / name for name in ("bad.dcm", "x.done", "gone.dcm"))
    for path in (bad, sentinel, gone):
        path.write_text("hello")
    assert room.keeper.unaccounted(room.unknown()) == 5, "told of nothing, only the sentinel needs no account"

    room.see(*slices, bad, gone)
    assert room.keeper.unaccounted(room.unknown()) == 0, "on their way"
    unknown = room.unknown()
    room.parse()
    gone.unlink()
    assert room.keeper.unaccounted(unknown) == 0, "in flight, given time, or gone"

    room.keeper.tick(time.monotonic() + 2)
    assert len(room.jobs) == 1
    lost = room.export / "lost.dcm"
    lost.write_text("nobody told of this one")
    assert room.keeper.unaccounted(room.unknown()) == 1


def test_a_series_that_was_dropped_to_save_memory_is_read_again_and_whole(
    tmp_path: Path, small_chest: Callable[[str], list[Path]]
) -> None:
    with PoisonPool() as pool:
        room = Room(tmp_path, pool, memory_budget=1)
        kinds = ("clear", "covid")
        for kind in kinds:
            (room.export / kind).mkdir()
            paths = [room.export / kind / file.name for file in small_chest(kind)[:5]]
            for path, file in zip(paths, small_chest(kind), strict=False):
                path.write_bytes(file.read_bytes())
            room.see(*paths)
            room.parse()
        room.keeper.housekeep()
        room.keeper.tick(time.monotonic() + 2)
        assert len(room.jobs) == 1, "the one that got the last slice was left"
        assert len(room.desk) == 5, "the other is read again"
        room.keeper.housekeep()
        room.parse()
        room.keeper.housekeep()
        room.keeper.tick(time.monotonic() + 60)
        assert len(room.jobs) == 2
    for job in room.jobs:
        assert len(job.slices) == 5
        assert all(one.plane is not None for one in job.slices)


def test_the_age_of_a_series_counts_from_its_first_slice_however_long_others_come(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    began = time.monotonic()
    files = small_chest("clear")
    for number, file in enumerate(files[:3]):
        room.bring(file, at=began + number)
    assert room.keeper.oldest() == began
    room.bring(*small_chest("covid")[:1], at=began + 9)
    assert room.keeper.oldest() == began, "the oldest of two"


def test_the_age_of_a_series_that_ended_counts_from_what_came_of_it_then(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    first, late = small_chest("clear")[:2]
    room.bring(first)
    room.keeper.tick(time.monotonic() + 2)
    room.answer(Outcome.FLAGGED)
    assert room.ended
    assert room.keeper.oldest() is None
    now = time.monotonic()
    room.bring(late, at=now)
    assert room.keeper.oldest() == now


def test_slices_that_are_read_again_are_told_from_those_that_came(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    files = small_chest("clear")[:3]
    room.bring(*files[:2])
    room.keeper.tick(time.monotonic() + 2)
    room.answer(Outcome.FLAGGED)
    assert room.ended
    room.bring(files[2])
    room.recorder.flush()
    kinds = {one.label: one.value for one in JournalReader(room.journal.path).totals() if one.name == "files"}
    assert kinds == {"slice": 3, "read_again": 2}


def test_a_sentinel_of_its_folder_completes_a_series_whose_slices_come_to_be_parsed_later(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    path = room.export / "a.dcm"
    path.write_bytes(small_chest("clear")[0].read_bytes())
    room.see(path)
    room.keeper.sentinel_seen(room.export / "other" / "x.done", time.monotonic())
    room.keeper.sentinel_seen(room.export / "x.done", time.monotonic())
    room.parse()
    room.keeper.tick(time.monotonic())
    assert len(room.jobs) == 1


def test_a_series_without_a_flag_is_told_of_only_after_a_look_at_the_folder_and_at_its_files(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    room.bring(*small_chest("clear")[:3])
    seen = time.monotonic()
    room.keeper.tick(seen + 2)
    room.answer(Outcome.NOT_FLAGGED)
    for after_s in (29, 31, 32):
        room.keeper.tick(seen + after_s)
    assert (len(room.jobs), len(room.looks)) == (1, 1), "asked for a look, once"
    room.keeper.looked(seen + 29, seen + 33)
    room.keeper.tick(seen + 33)
    assert len(room.jobs) == 1, "that look began before the ceiling"
    room.keeper.looked(seen + 33, seen + 34)
    room.keeper.tick(seen + 34)
    assert room.jobs[1].reading is not None, "the files are looked at"
    assert not room.ended
    room.answer(Outcome.NOT_FLAGGED)
    assert room.ended


def test_files_that_changed_before_a_reading_is_told_are_read_again_and_the_wait_begins_anew(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    now = time.monotonic()
    paths = room.bring(*small_chest("clear")[:3], at=now - 40)
    room.keeper.tick(now)
    room.answer(Outcome.NOT_FLAGGED)
    room.keeper.looked(now, now)
    room.keeper.tick(now)
    changed = folder.arrival(paths[1])
    assert changed is not None
    room.keeper.reading_finished(ReadingFinished(room.jobs[-1], FilesChanged((changed,)), 0.0))
    room.keeper.tick(now + 60)
    assert len(room.jobs) == 2, "waits for the file"
    room.parse()
    # The file came 40 s after the others: a slow series, of which quiet says something only at the ceiling.
    room.keeper.tick(now + 40)
    assert len(room.jobs[2].slices) == 3
    room.answer(Outcome.NOT_FLAGGED)
    for after_s, jobs in ((25, 3), (45, 4)):
        room.keeper.looked(now + after_s, now + after_s)
        room.keeper.tick(now + after_s)
        assert len(room.jobs) == jobs


def test_a_file_that_grows_holds_up_what_is_not_a_flag(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    now = time.monotonic()
    room.bring(*small_chest("clear")[:3])
    growing = room.export / "growing.dcm"
    for after_s in (0, 20, 40):
        growing.write_text(f"header so far: {after_s}")
        room.see(growing, at=now + after_s)
        room.parse()
        if after_s == 0:
            room.keeper.tick(now + 2)
            room.answer(Outcome.NOT_FLAGGED)
        room.keeper.looked(now + after_s + 15, now + after_s + 15)
        room.keeper.tick(now + after_s + 15)
        assert len(room.jobs) == 1
    for after_s in (70, 71):
        room.keeper.looked(now + after_s, now + after_s)
        room.keeper.tick(now + after_s)
    assert len(room.jobs) == 2, "given up"


def test_a_sentinel_says_nothing_of_a_file_that_is_not_whole(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    half = room.export / "half.dcm"
    half.write_text("half a file")
    room.see(half)
    room.bring(*small_chest("clear")[:3])
    now = time.monotonic()
    room.keeper.sentinel_seen(room.export / "x.done", now)
    room.keeper.tick(now)
    room.answer(Outcome.NOT_FLAGGED)
    room.keeper.tick(now + 1)
    assert not room.ended
    for after_s in (31, 32):
        room.keeper.looked(now + after_s, now + after_s)
        room.keeper.tick(now + after_s)
    assert room.ended, "given up"


def test_a_file_under_its_final_name_is_not_gone(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    files = small_chest("covid")[:4]
    parts = room.bring(*files[:3], suffix=".part")
    room.keeper.tick(time.monotonic() + 2)
    room.answer(Outcome.FLAGGED)
    assert room.ended
    finals = [part.rename(part.with_suffix(".dcm")) for part in parts]
    room.see(*finals)
    room.parse()
    room.keeper.tick(time.monotonic() + 2)
    assert room.ended, "the same slices"
    room.bring(files[3])
    room.keeper.tick(time.monotonic() + 2)
    assert len(room.jobs[-1].slices) == 4

    finals[0].unlink()
    room.answer(Outcome.FLAGGED)
    room.see(room.bring(small_chest("covid")[4])[0])
    room.parse()
    room.keeper.tick(time.monotonic() + 2)
    assert not room.ended, "it may be the folder that is gone"
    room.keeper.looked(time.monotonic(), time.monotonic())
    room.keeper.tick(time.monotonic() + 2)
    assert (len(room.jobs), room.ended) == (2, True), "now one is"


def test_a_counted_series_that_was_dropped_to_save_memory_waits_until_it_is_read_again(
    tmp_path: Path, small_chest: Callable[[str], list[Path]]
) -> None:
    counted = []
    for number, file in enumerate(small_chest("clear")[:3]):
        dataset = pydicom.dcmread(file)
        dataset.private_block(0x0025, "GEMS_SERS_01", create=True).add_new(0x07, "SL", 3)
        counted.append(tmp_path / f"counted{number}.dcm")
        dataset.save_as(counted[-1])
    with PoisonPool() as pool:
        room = Room(tmp_path, pool, memory_budget=1)
        room.bring(*counted)
        room.bring(*small_chest("covid")[:3])
        room.keeper.housekeep()
        for _ in range(2):
            room.keeper.tick(time.monotonic())
        assert (len(room.desk), len(room.keeper.in_progress(None))) == (3, 2), "none ended without files"
        room.parse()
        room.keeper.tick(time.monotonic())
        (job,) = room.jobs
    assert {one.header.images_in_series for one in job.slices} == {3}
    assert len(job.slices) == 3


@pytest.mark.parametrize("becomes", ["a slice", "nothing", "still bad"])
def test_a_bad_file_that_is_tried_again_leaves_nothing_open(
    room: Room, small_chest: Callable[[str], list[Path]], becomes: str
) -> None:
    def wait() -> None:
        """For what stays bad: until after two looks, with another reading in between."""
        for seconds in (100, 200, 300):
            room.parse()
            room.keeper.looked(time.monotonic() + seconds, time.monotonic() + seconds)
            room.keeper.tick(time.monotonic() + seconds)

    path = room.export / "bad.dcm"
    path.write_text("no DICOM")
    room.see(path)
    wait()
    assert room.journal.series("bad.dcm", None).ended
    assert room.journal.try_again(["bad.dcm"], utc_now()) == 1
    if becomes == "a slice":
        path.write_bytes(small_chest("clear")[0].read_bytes())
    elif becomes == "nothing":
        path.unlink()
    room.keeper.housekeep()
    assert not room.journal.series("bad.dcm", None).ended
    wait()
    assert room.journal.series("bad.dcm", None).ended
    due = room.journal.due_tries("9", "9", 10)
    assert [one.subject for one in due] == (["bad.dcm"] if becomes == "still bad" else [])


def test_an_old_series_is_never_in_flight(room: Room, small_chest: Callable[[str], list[Path]]) -> None:
    path = room.export / "old.dcm"
    path.write_bytes(small_chest("clear")[0].read_bytes())
    (old,) = (one for one in folder.scan(room.export))
    room.desk.read_header(old)
    uid = uid_of(path)
    # As a kill between the row and its finding leaves it.
    assert room.journal.series(uid, None, ended=True).ended
    room.parse()
    (record,) = JournalReader(room.journal.path).records()
    assert (record.series_uid, record.reason) == (uid, "before_installation")
    room.desk.read_header(old)
    room.parse()
    assert len(JournalReader(room.journal.path).revisions(uid)) == 1


def test_a_name_that_was_only_temporary_is_no_file_of_the_series(
    room: Room, small_chest: Callable[[str], list[Path]]
) -> None:
    one, other = small_chest("clear")[:2]
    (temporary,) = room.bring(one, suffix=".tmp")
    final = temporary.with_suffix(".dcm")
    final.write_bytes(one.read_bytes())
    alone = room.export / "alone.dcm"
    alone.write_bytes(other.read_bytes())
    room.see(final, alone)
    room.parse()
    room.keeper.tick(time.monotonic() + 2)
    reading = Reading(Outcome.FLAGGED, None, None, None, None, {})
    room.keeper.reading_finished(ReadingFinished(room.jobs[-1], reading, 0.0, (temporary, alone)))
    row = room.journal.series(uid_of(one), None)
    assert row.ended
    known = {Path(file.path) for file in room.journal.files_of(row.id)}
    assert known == {final, alone}, "what has no other name is one that was purged"
