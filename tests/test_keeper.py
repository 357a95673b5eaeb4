"""The keeper's account of the folder, with a real journal and a real desk."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from poison import PoisonPool

from appliance.findings.objects import ObjectStore
from appliance.intake import folder
from appliance.intake.completeness import Pace, Sentinel
from appliance.intake.desk import IntakeDesk, SliceTaken
from appliance.intake.parsing import Parsed
from appliance.intake.watch import FilesSeen
from appliance.journal import Journal
from appliance.keeper import Keeper
from appliance.reader import Job
from appliance.reading import ModelInUse, rules_for
from appliance.recorder import Recorder
from appliance.records import SlicePlan
from appliance.state_disk import StateDisk
from engines.bundle import default_model, load_model


class Room:
    """A keeper with what it works with; `jobs` are what it handed to the engine, `looks` when it asked for
    one at the folder."""

    def __init__(self, tmp_path: Path, pool: PoisonPool, memory_budget: int = 2**30) -> None:
        self.export = tmp_path / "export"
        self.export.mkdir()
        (tmp_path / "objects").mkdir()
        model = load_model(default_model())
        rules = rules_for(model.spec)
        plan = SlicePlan.for_grid(model.spec.grid)
        self.posted: queue.Queue[Parsed] = queue.Queue()
        self.jobs: list[Job] = []
        self.looks: list[float] = []
        self.journal = Journal(tmp_path / "journal.db")
        self.recorder = Recorder(self.journal, ObjectStore(tmp_path / "objects", StateDisk()), rules, 60)
        self.desk = IntakeDesk(pool, 1, plan, self.posted.put, tries=1, old_before_ns=0)
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
            export_folder=self.export,
            sentinel=Sentinel("*.done"),
            tries=3,
            memory_budget=memory_budget,
        )

    def see(self, *paths: Path) -> None:
        arrivals = tuple(one for one in map(folder.arrival, paths) if one)
        self.desk.seen(FilesSeen(arrivals, time.monotonic()))

    def parse(self) -> None:
        while len(self.desk):
            taken = self.desk.parsed(self.posted.get(timeout=30))
            if isinstance(taken, SliceTaken):
                self.keeper.take(taken)

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
