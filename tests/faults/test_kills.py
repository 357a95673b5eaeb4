"""Killed between any two writes, and at any time: nothing is lost, and nothing is told twice."""

from __future__ import annotations

import random
import threading
from functools import partial
from pathlib import Path

import pytest
from exams import Patients, busy_day, read_offline
from trial import SideBySide, Trial, meanwhile, try_at
from witness import Told

from appliance.faults import POINTS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_a_point_loses_nothing(
    point: str, side_by_side: SideBySide, patients: Patients, routine_told: dict[str, Told]
) -> None:
    side_by_side(point, lambda point, folder: try_at(point, Trial(folder, patients), routine_told))


def test_kills_at_any_time_lose_nothing(tmp_path: Path, patients: Patients, kills: int, seed: int) -> None:
    chance, stop = random.Random(seed), threading.Event()
    with Trial(tmp_path, patients, patience_s=10) as trial:
        with meanwhile(partial(busy_day, trial.scanner, random.Random(seed), stop)):
            try:
                for _ in range(kills):
                    trial.killed_at_any_time(chance)
            finally:
                stop.set()
        trial.judge(read_offline(trial.appliance.export_folder))
