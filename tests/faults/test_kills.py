"""Killed between any two writes, and at any time: nothing is lost, and nothing is told twice."""

from __future__ import annotations

import random
import threading
from functools import partial
from pathlib import Path

import pytest
from exams import Patients, busy_day, read_offline, routine
from trial import Trial, meanwhile
from witness import Told

from appliance.faults import POINTS

pytestmark = pytest.mark.slow

OFTEN = {"file": (1, 2, 4), "journal": (1, 3, 6), "finding": (1, 2), "delivery": (1, 2)}
"""What is reached again and again, and the times at which the process is killed there."""


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_a_point_loses_nothing(
    point: str, tmp_path: Path, patients: Patients, routine_told: dict[str, Told]
) -> None:
    with Trial(tmp_path, patients) as trial:
        trial.scanner.old(9)
        with meanwhile(partial(routine, trial.scanner)):
            for number in OFTEN.get(point.partition(".")[0], (1,)):
                trial.killed_at(point, number)
            trial.judge(routine_told)


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
