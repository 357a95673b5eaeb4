"""The intake desk with real files, real workers and real faults."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from poison import PoisonPool

from appliance.intake import folder
from appliance.intake.desk import (
    Became,
    FileGone,
    FileLeft,
    FileLost,
    FilePassed,
    IntakeDesk,
    SliceTaken,
)
from appliance.intake.installation import Installation
from appliance.intake.parsing import Parsed
from appliance.intake.watch import FilesSeen
from appliance.reasons import Reason
from appliance.records import Arrival, SlicePlan

PLAN = SlicePlan(in_plane_mm=(3.2, 3.2), grid=(128, 128))
TRIES = 3


class Desk:
    def __init__(self, pool: PoisonPool, installation: Installation | None = None) -> None:
        self.posted: queue.Queue[Parsed] = queue.Queue()
        self.desk = IntakeDesk(pool, 1, PLAN, self.posted.put, tries=TRIES, installation=installation)

    def see(self, *paths: Path, lay_there: bool = False) -> list[Arrival]:
        arrivals = tuple(one for one in map(folder.arrival, paths) if one)
        return self.desk.seen(FilesSeen(arrivals, time.monotonic(), lay_there))

    def results(self) -> list[Became]:
        found = []
        while len(self.desk):
            result = self.desk.parsed(self.posted.get(timeout=30))
            if result is not None:
                found.append(result)
        return found


@pytest.fixture
def pool() -> Iterator[PoisonPool]:
    with PoisonPool() as pool:
        yield pool


def copy(file: Path, target: Path) -> Path:
    target.write_bytes(file.read_bytes())
    return target


SmallChest = Callable[[str], list[Path]]


def test_a_poisoned_file_is_tried_behind_the_others_and_named_in_the_end(
    pool: PoisonPool, small_chest: SmallChest, tmp_path: Path
) -> None:
    files = small_chest("clear")
    poisoned = copy(files[0], tmp_path / "crash-1.dcm")
    good = [copy(file, tmp_path / file.name) for file in files[1:6]]
    desk = Desk(pool)
    desk.see(poisoned, *good)
    results = desk.results()
    lost = [one for one in results if isinstance(one, FileLost)]
    taken = [one for one in results if isinstance(one, SliceTaken)]
    assert [one.reason for one in lost] == [Reason.WORKER_CRASHED] * TRIES
    assert [one.slice.problem is not None for one in taken] == [False] * 5 + [True]
    assert taken[-1].slice.header.series_uid == taken[0].slice.header.series_uid
    assert pool.submitted[-TRIES:] == [poisoned.name] * TRIES


def test_a_file_that_changed_while_it_was_read_counts_as_it_is_now(
    pool: PoisonPool, small_chest: SmallChest, tmp_path: Path
) -> None:
    path = copy(small_chest("clear")[0], tmp_path / "meddle-1.dcm")
    desk = Desk(pool)
    desk.see(path)
    (taken,) = desk.results()
    assert isinstance(taken, SliceTaken)
    assert taken.slice.arrival == folder.arrival(path)
    assert len(pool.submitted) == 2


def test_a_bad_file_is_given_time_and_forgiven_when_it_changes(
    pool: PoisonPool, small_chest: SmallChest, tmp_path: Path
) -> None:
    path = tmp_path / "a.dcm"
    path.write_text("half a file")
    desk = Desk(pool)
    desk.see(path)
    assert desk.results() == []
    assert desk.desk.holds(path)
    assert desk.desk.overdue(time.monotonic(), after_s=60) == []
    copy(small_chest("clear")[0], path)
    desk.see(path)
    assert [type(one) for one in desk.results()] == [SliceTaken]
    assert desk.desk.overdue(time.monotonic() + 100, after_s=60) == []


def test_a_file_that_keeps_growing_is_as_old_as_when_it_was_first_seen(
    pool: PoisonPool, tmp_path: Path
) -> None:
    path = tmp_path / "a.dcm"
    desk = Desk(pool)
    assert desk.desk.oldest() is None
    before = time.monotonic()
    for size in range(3):
        path.write_text("part" * (size + 1))
        desk.see(path)
        assert desk.results() == []
        if size == 0:
            first = desk.desk.oldest()
    assert first is not None
    assert before <= first
    assert desk.desk.oldest() == first


def test_a_bad_file_that_stays_is_told_once(pool: PoisonPool, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_text("no DICOM")
    desk = Desk(pool)
    desk.see(path)
    assert desk.results() == []
    ((arrival, problem),) = desk.desk.overdue(time.monotonic() + 61, after_s=60)
    assert (arrival.path, problem.reason) == (path, Reason.UNREADABLE)
    assert desk.desk.overdue(time.monotonic() + 100, after_s=60) == []


def test_a_file_that_the_system_refused_is_read_once_more_before_it_is_given_up(pool: PoisonPool) -> None:
    refused = Path("/proc/self/mem")
    desk = Desk(pool)
    desk.see(refused)
    assert desk.results() == []
    assert desk.desk.overdue(time.monotonic() + 59, after_s=60) == []
    assert len(pool.submitted) == 1
    assert desk.desk.overdue(time.monotonic() + 61, after_s=60) == []
    assert desk.results() == []
    assert len(pool.submitted) == 2
    ((arrival, problem),) = desk.desk.overdue(time.monotonic() + 61, after_s=60)
    assert (arrival.path, problem.reason) == (refused, Reason.UNREADABLE)
    assert "Input/output error" in problem.detail


def test_of_an_old_file_only_the_header_is_read(
    pool: PoisonPool, small_chest: SmallChest, tmp_path: Path
) -> None:
    path = copy(small_chest("clear")[0], tmp_path / "crash-if-pixels-are-read.dcm")
    bad, changed = tmp_path / "bad.dcm", copy(small_chest("clear")[1], tmp_path / "changed.dcm")
    bad.write_text("no DICOM")
    desk = Desk(pool, Installation(time.time_ns() + 1e12, 0))
    old = desk.see(path, bad, changed, lay_there=True)
    assert [one.path for one in old] == [path, bad, changed]
    assert pool.submitted == []
    os.utime(changed)
    for one in old:
        desk.desk.read_header(one)
    taken, *left = desk.results()
    assert isinstance(taken, SliceTaken)
    assert taken.old
    assert taken.slice.plane is None
    assert left == [FileLeft(old[1]), FileLeft(old[2])]
    assert desk.desk.overdue(time.monotonic() + 100, after_s=60) == []


def test_what_arrives_now_goes_before_what_lay_there_which_still_gets_a_share(
    pool: PoisonPool, small_chest: SmallChest, tmp_path: Path
) -> None:
    files = small_chest("clear")
    lay_there = [copy(file, tmp_path / f"old-{n:02}.dcm") for n, file in enumerate(files[:12])]
    for n, path in enumerate(lay_there):
        os.utime(path, (1000 + n, 1000 + n))
    now = [copy(file, tmp_path / f"now-{n:02}.dcm") for n, file in enumerate(files[:24])]
    desk = Desk(pool)
    desk.see(*lay_there, lay_there=True)
    desk.see(*now)
    desk.results()
    order = pool.submitted[2:]
    arrived = [name for name in order if name.startswith("now")]
    assert arrived == sorted(arrived)
    first = order[: order.index("now-23.dcm")]
    assert 6 <= sum(name.startswith("old") for name in first) <= 9, "one of four"
    backlog = [name for name in order if name.startswith("old")]
    assert backlog.index("old-09.dcm") < backlog.index("old-04.dcm"), "the newest first"
    assert "old-02.dcm" in backlog[:4], "and now and then the oldest of those that wait"


def test_files_that_wait_block_their_folder_until_they_were_seen(
    pool: PoisonPool, small_chest: SmallChest, tmp_path: Path
) -> None:
    path = copy(small_chest("clear")[0], tmp_path / "a.dcm")
    desk = Desk(pool)
    before = time.monotonic()
    desk.see(path)
    assert desk.desk.blocks({tmp_path}, time.monotonic())
    assert not desk.desk.blocks({tmp_path}, before - 1)
    assert not desk.desk.blocks({tmp_path / "other"}, time.monotonic())
    desk.results()
    assert not desk.desk.blocks({tmp_path}, time.monotonic())


def test_a_series_in_several_folders_waits_for_what_arrives_beside_them(
    pool: PoisonPool, small_chest: SmallChest, tmp_path: Path
) -> None:
    for name in ("study/1", "study/2", "study/3", "other"):
        (tmp_path / name).mkdir(parents=True)
    spread = {tmp_path / "study/1", tmp_path / "study/2"}
    desk = Desk(pool)
    for name, lay_there, waits in (
        ("study/3", True, False),
        ("other", False, False),
        ("study/3", False, True),
    ):
        desk.see(copy(small_chest("clear")[0], tmp_path / name / "a.dcm"), lay_there=lay_there)
        assert desk.desk.blocks(spread, time.monotonic()) is waits
        assert not desk.desk.blocks({tmp_path / "study/1"}, time.monotonic())
        desk.results()


def test_a_file_that_is_tried_again_holds_up_no_flag_but_what_is_none(
    pool: PoisonPool, small_chest: SmallChest, tmp_path: Path
) -> None:
    desk = Desk(pool)
    desk.see(copy(small_chest("clear")[0], tmp_path / "crash-a.dcm"))
    now = time.monotonic()
    here = {tmp_path}
    assert (desk.desk.blocks(here, now), desk.desk.awaits(here, now)) == (True, False)
    assert isinstance(desk.desk.parsed(desk.posted.get(timeout=30)), FileLost)
    assert (desk.desk.blocks(here, now), desk.desk.awaits(here, now)) == (False, True)
    desk.results()
    assert (desk.desk.blocks(here, now), desk.desk.awaits(here, now)) == (False, False)


def test_a_file_that_is_none_of_ours_passes_and_one_that_vanished_is_told_of(
    pool: PoisonPool, tmp_path: Path
) -> None:
    note, gone = tmp_path / "note.txt", tmp_path / "gone.dcm"
    note.write_text("hello")
    gone.write_text("hello")
    desk = Desk(pool)
    arrivals = tuple(one for one in map(folder.arrival, (note, gone)) if one)
    gone.unlink()
    desk.desk.seen(FilesSeen(arrivals, time.monotonic()))
    passed, vanished = desk.results()
    assert isinstance(passed, FilePassed)
    assert passed.arrival.path == note
    assert isinstance(vanished, FileGone)
    assert vanished.arrival.path == gone
