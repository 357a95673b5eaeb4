"""The power is cut between any two writes, and at any time: what was told stays, what was not is told."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from exams import Patients, busy_day, read_offline, routine
from powerloss import Disk, Machine, Step, build, lose_all, read_log, recording
from trial import SideBySide, Trial, meanwhile, try_at
from witness import Told

from appliance.faults import POINTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs cc: apt-get install gcc libc6-dev")
    return build(tmp_path_factory.mktemp("powerloss"))


def test_the_steps_written_down_are_all_there_are(
    library: Path, tmp_path: Path, patients: Patients, routine_told: dict[str, Told]
) -> None:
    log = tmp_path / "steps"
    with Trial(tmp_path, patients) as trial:
        state = trial.appliance.state
        disk = Disk(state)
        with (
            trial.life(recording(library, state, log)) as appliance,
            meanwhile(partial(routine, trial.scanner)),
        ):
            appliance.wait("all is told", lambda: trial.told() == routine_told)
            assert appliance.stop() == 0
        disk.follow(read_log(log))
        disk.lose_nothing()
        disk.rebuild(tmp_path / "rebuilt")
    assert content(tmp_path / "rebuilt") == content(state)


def content(folder: Path) -> dict[Path, bytes | None]:
    """All but SQLite's index of the WAL, which is mapped memory and made anew by whoever opens first."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.suffix != ".db-shm" and not path.is_socket()
    }


@pytest.mark.parametrize("point", POINTS)
def test_a_power_cut_at_a_point_loses_nothing(
    point: str, side_by_side: SideBySide, library: Path, patients: Patients, routine_told: dict[str, Told]
) -> None:
    side_by_side(
        point, lambda point, folder: try_at(point, Trial(folder, patients, Machine(library)), routine_told)
    )


def test_power_cuts_at_any_time_lose_nothing(
    library: Path, tmp_path: Path, patients: Patients, kills: int, seed: int
) -> None:
    """Some after kills that left the machine running, some with a part of what was not synced on the disk."""
    chance, stop = random.Random(seed), threading.Event()

    def lose(disk: Disk) -> None:
        if chance.random() < 0.5:
            disk.lose_some(chance)
        else:
            lose_all(disk)

    machine = Machine(library, lose=lose, goes=lambda: chance.random() < 0.7)
    with Trial(tmp_path, patients, machine, patience_s=10) as trial:
        with meanwhile(partial(busy_day, trial.scanner, random.Random(seed), stop)):
            try:
                for _ in range(kills // 2):
                    trial.killed_at_any_time(chance)
            finally:
                stop.set()
        trial.judge(read_offline(trial.appliance.export_folder))


@pytest.mark.parametrize(
    "missing",
    [
        pytest.param(lambda sync: sync.path.parent.name in ("objects", "results"), id="of files"),
        pytest.param(lambda sync: sync.path.is_dir(), id="of folders"),
        pytest.param(lambda sync: sync.path.name.startswith("journal.db"), id="of the journal"),
    ],
)
def test_syncs_that_are_missing_are_found_out(
    missing: Callable[[Step], bool], library: Path, tmp_path: Path, patients: Patients
) -> None:
    machine = Machine(library, believed=lambda sync: not missing(sync))
    with Trial(tmp_path, patients, machine) as trial:
        trial.scanner.companions(1)
        trial.killed_at("delivery.settled", 2)
        appliance = trial.appliance
        with appliance.launched():
            process = appliance.process
            assert process is not None
            appliance.wait(
                "a result was seen to change, or the journal was seen to be lost",
                lambda: bool(trial.witness.complaints) or process.poll() == 2,
            )
