"""Disks that are full or fail under the daemon: it says so, waits, and loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from disks import full, mounted, small_disk
from exams import Patients, Scanner, read_offline
from harness import Appliance
from rig import Rig
from trial import Trial

pytestmark = pytest.mark.slow

AT_START = ("set_meta", "keep")
"""What is written at the first start: the first scan, and the known answers that are kept."""

OF_A_SERIES: tuple[tuple[str, Callable[[Scanner, int], None]], ...] = (
    ("series", Scanner.flagged),
    ("add_files", Scanner.flagged),
    ("charge_try", Scanner.flagged),
    ("settle_try", Scanner.flagged),
    ("put", Scanner.flagged),  # a heatmap
    ("put 2", Scanner.flagged),  # a record
    ("end", Scanner.flagged),
    ("deliver", Scanner.flagged),
    ("settle_delivery", Scanner.flagged),
    ("set_provisional", Scanner.clear),
    ("reopen", Scanner.late_slice),
)
"""What is written between the first slice of a series and its delivery, and an exam that has it written."""

HELD_S = 1.2
"""As long as the disk stays full: a few tries."""


@pytest.fixture
def trial(tmp_path: Path, patients: Patients) -> Iterator[Trial]:
    """An appliance whose state folder has a small disk of its own."""
    trial = Trial(tmp_path, patients)
    with small_disk(trial.appliance.state), trial:
        yield trial


@pytest.fixture
def rig(trial: Trial) -> Rig:
    return Rig(trial.appliance)


def fault_shows(appliance: Appliance, code: str, seconds: float = 10) -> None:
    """FAULT, while the daemon goes on."""
    appliance.wait(f"FAULT {code}", lambda: code in appliance.why(), seconds)
    assert appliance.status()["state"] == "fault"
    assert httpx.get(f"{appliance.url}/healthz").status_code == 200


def refused(appliance: Appliance, rig: Rig, held_s: float = HELD_S) -> None:
    """Let the disk be full when a call begins, for a while."""
    rig.wait_until_paused()
    with full(appliance.state):
        rig.unsay("pause")
        fault_shows(appliance, "state_disk")
        time.sleep(held_s)
        assert appliance.status()["state"] == "fault"
        assert httpx.get(f"{appliance.url}/healthz").status_code == 200
    appliance.wait("it heals by itself", lambda: appliance.why() == [], 15)


@pytest.mark.parametrize("call", AT_START)
def test_a_disk_full_at_the_first_start_is_waited_for(call: str, trial: Trial, rig: Rig) -> None:
    deadline_s = 3
    text = trial.appliance.config.read_text()
    trial.appliance.config.write_text(f"{text}engine_deadline_s: {deadline_s}\n")
    rig.say("pause", call)
    with trial.life(rig.env) as appliance:
        trial.scanner.flagged(1)
        # A disk that is waited for is not an engine that hangs.
        refused(appliance, rig, held_s=deadline_s + 1)
        assert appliance.process is not None
        assert appliance.process.poll() is None
    trial.judge(read_offline(trial.appliance.export_folder))


def test_a_disk_full_at_any_write_of_a_series_loses_nothing(trial: Trial, rig: Rig) -> None:
    with trial.life(rig.env) as appliance:
        appliance.wait("the daemon is ready", appliance._ready)
        for patient, (call, exam) in enumerate(OF_A_SERIES):
            before = len(appliance.findings())
            rig.say("pause", call)
            exam(trial.scanner, patient)
            refused(appliance, rig)
            appliance.wait(f"{call}: it is told of", lambda: len(appliance.findings()) > before)
    trial.judge(read_offline(trial.appliance.export_folder))
