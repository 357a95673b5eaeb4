"""Disks that are full or fail under the daemon: it says so, waits, and loses nothing."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from command import scanlight
from disks import RefusingDisk, full, small_disk
from exams import Patients, Scanner, read_offline
from harness import Appliance
from rig import Rig
from trial import Trial

from appliance.commands.run import CANNOT_START

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

STOPS_S = 10
HELD_S = 0.6
"""As long as the disk stays full: a few tries."""


@pytest.fixture
def trial(tmp_path: Path, patients: Patients) -> Iterator[Trial]:
    """An appliance whose state folder has a small disk of its own."""
    trial = Trial(tmp_path, patients)
    with small_disk(trial.appliance.state), trial:
        yield trial


@pytest.fixture
def rig(trial: Trial) -> Rig:
    return Rig(trial)


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
    deadline_s = 6
    text = trial.appliance.config.read_text()
    trial.appliance.config.write_text(f"{text}engine_deadline_s: {deadline_s}\n")
    rig.say("pause", call)
    with rig.life() as appliance:
        trial.scanner.flagged(1)
        # A disk that is waited for is not an engine that hangs.
        refused(appliance, rig, held_s=deadline_s + 1)
        assert appliance.process is not None
        assert appliance.process.poll() is None
    trial.judge(read_offline(trial.appliance.export_folder))


def test_a_disk_full_at_any_write_of_a_series_loses_nothing(trial: Trial, rig: Rig) -> None:
    with rig.life() as appliance:
        appliance.wait("the daemon is ready", appliance._ready)
        for patient, (call, exam) in enumerate(OF_A_SERIES):
            before = len(appliance.findings())
            rig.say("pause", call)
            exam(trial.scanner, patient)
            refused(appliance, rig)
            appliance.wait_for_findings(before + 1)
    trial.judge(read_offline(trial.appliance.export_folder))


def test_a_first_start_on_a_full_disk_says_so_and_the_next_one_works(trial: Trial) -> None:
    with full(trial.appliance.state):
        refused_start = scanlight("run", "--config", trial.appliance.config)
    assert refused_start.returncode == CANNOT_START
    assert str(trial.appliance.state) in refused_start.stderr
    assert refused_start.stderr.count("\n") == 1, refused_start.stderr
    trial.scanner.flagged(1)
    trial.judge(read_offline(trial.appliance.export_folder))


def test_a_stop_and_a_start_while_the_disk_is_full_lose_nothing(trial: Trial) -> None:
    # Images would give way, and there would be room.
    trial.appliance.configure(keep_images_days=0)
    with trial.life() as appliance:
        trial.scanner.flagged(1)
        appliance.wait_for_findings(1)
        with full(appliance.state):
            trial.scanner.flagged(2)
            fault_shows(appliance, "state_disk")
            asked = time.monotonic()
            assert appliance.stop() == 0
            assert time.monotonic() - asked < STOPS_S
            appliance.launch()
            assert appliance.process is not None
            # It waits, or is started again by the service manager until there is room.
            appliance.wait(
                "it says why",
                lambda: appliance.process.poll() is not None or "state_disk" in appliance.why(),  # type: ignore[union-attr]
            )
            assert appliance.process.poll() in (None, CANNOT_START)
    trial.judge(read_offline(trial.appliance.export_folder))


def test_results_wait_for_room_on_a_disk_of_their_own(tmp_path: Path, patients: Patients) -> None:
    trial = Trial(tmp_path, patients)
    trial.appliance.results.mkdir(parents=True)
    with small_disk(trial.appliance.results), trial:
        with trial.life() as appliance:
            appliance.wait("the daemon is ready", appliance._ready)
            with full(appliance.results):
                trial.scanner.flagged(1)
                fault_shows(appliance, "results_folder")
                trial.scanner.clear(2)
                shown = f"{appliance.url}/api/series?in_flight=no"
                appliance.wait("the page goes on", lambda: len(httpx.get(shown).json()) == 2)
                assert appliance.why() == ["results_folder"]
                assert appliance.findings() == []
            appliance.wait("it heals by itself", lambda: appliance.why() == [], 15)
        trial.judge(read_offline(trial.appliance.export_folder))


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO], ids=errno.errorcode.get)
def test_a_disk_that_refuses_and_comes_back_loses_nothing(
    code: int, tmp_path: Path, patients: Patients
) -> None:
    with Trial(tmp_path, patients) as trial:
        rig, disk = Rig(trial), RefusingDisk(tmp_path, trial.appliance.state)
        with rig.life(disk.env) as appliance:
            appliance.wait("the daemon is ready", appliance._ready)
            for patient, call in enumerate(("series", "put", "end", "deliver")):
                rig.say("pause", call)
                trial.scanner.flagged(patient)
                rig.wait_until_paused()
                with disk.refusing(code):
                    rig.unsay("pause")
                    fault_shows(appliance, "state_disk")
                appliance.wait("it heals by itself", lambda: appliance.why() == [], 15)
                appliance.wait_for_findings(patient + 1)
        trial.judge(read_offline(trial.appliance.export_folder))
