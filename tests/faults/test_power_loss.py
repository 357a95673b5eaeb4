"""The power is cut between any two writes, and at any time: what was told stays, what was not is told."""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from exams import Patients, busy_day, read_offline, routine
from powerloss import Disk, Step, build, environment, read_log
from trial import Power, Trial, meanwhile
from witness import Told, Witness

from appliance.faults import POINTS

pytestmark = pytest.mark.slow

OFTEN = {"file": (1, 4), "journal": (1, 6)}
CUTS = 12


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs cc: apt-get install gcc libc6-dev")
    return build(tmp_path_factory.mktemp("powerloss"))


def cutting(
    library: Path,
    lose: Callable[[Disk], None] = lambda disk: None,
    believe: Callable[[Step], bool] = lambda step: True,
) -> Power:
    """A life ends with the power: `lose` decides on what was not synced, steps that are not believed never
    were."""

    @contextlib.contextmanager
    def power(state: Path, witness: Witness) -> Iterator[Mapping[str, str]]:
        disk, log = Disk(state), state.with_name("steps")
        log.unlink(missing_ok=True)
        yield environment(library, state, log)
        with witness.away():
            disk.follow(filter(believe, read_log(log)))
            lose(disk)
            disk.rebuild()

    return power


def test_the_steps_written_down_are_all_there_are(
    library: Path, tmp_path: Path, patients: Patients, routine_told: dict[str, Told]
) -> None:
    log = tmp_path / "steps"
    with Trial(tmp_path, patients) as trial:
        disk, state = Disk(trial.appliance.state), trial.appliance.state
        routine(trial.scanner)
        with trial.life(environment(library, state, log)) as appliance:
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
        if path.suffix != ".db-shm"
    }


@pytest.mark.parametrize("point", POINTS)
def test_a_power_cut_at_a_point_loses_nothing(
    point: str, library: Path, tmp_path: Path, patients: Patients, routine_told: dict[str, Told]
) -> None:
    with Trial(tmp_path, patients, cutting(library)) as trial:
        trial.scanner.old(9)
        with meanwhile(partial(routine, trial.scanner)):
            for number in OFTEN.get(point.partition(".")[0], (1,)):
                trial.killed_at(point, number)
            trial.judge(routine_told)


def test_power_cuts_at_any_time_lose_nothing(
    library: Path, tmp_path: Path, patients: Patients, kills: int, seed: int
) -> None:
    chance, stop = random.Random(seed), threading.Event()
    power = cutting(library, lambda disk: disk.lose_some(chance) if chance.random() < 0.5 else None)
    with Trial(tmp_path, patients, power, patience_s=10) as trial:
        with meanwhile(partial(busy_day, trial.scanner, random.Random(seed), stop)):
            try:
                for _ in range(kills // 2):
                    with trial.life() as appliance:
                        if chance.random() < 0.5:
                            appliance.wait("the daemon is ready", appliance._ready)
                        time.sleep(chance.uniform(0, 1.5))
            finally:
                stop.set()
        trial.judge(read_offline(trial.appliance.export_folder))


DISBELIEVED = {
    "the content of results": lambda step: step.what == "s" and step.path.parent.name in ("results", "objects"),
    "the names in folders": lambda step: step.what == "s" and step.path.is_dir(),
    "the journal": lambda step: step.what == "s" and step.path.name.startswith("journal"),
}


@pytest.mark.parametrize("what", DISBELIEVED)
def test_a_sync_that_is_missing_is_found_out(
    what: str, library: Path, tmp_path: Path, patients: Patients, routine_told: dict[str, Told]
) -> None:
    power = cutting(library, believe=lambda step: not DISBELIEVED[what](step))
    with Trial(tmp_path, patients, power) as trial:
        with meanwhile(partial(routine, trial.scanner)):
            trial.killed_at("delivery.settled", 2)
            with pytest.raises(AssertionError):
                trial.judge(routine_told)
