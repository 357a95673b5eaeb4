"""A process that hangs, drifts, is told to end, or dies by its files: what is good is read, and told once."""

from __future__ import annotations

import getpass
import io
import json
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
import yaml
from command import scanlight
from exams import Patients, read_offline, renamed, uid_in
from faulty_models import no_number_above
from harness import Appliance
from rig import Rig
from trial import Trial
from witness import Told

from appliance.commands.run import CANNOT_START, CRASHED
from appliance.faults import VARIABLE, FaultRaised

pytestmark = pytest.mark.slow

THREADS = (
    "loop.turned",
    "watch.scanned",
    "engine.opened",
    "engine.checked",
    "reading.done",
    "delivery.begun",
    "web.looked",
    "worker.starting",
)
"""A point in each thread, and some more in the engine's."""

STOPS_S = 10
FAR_OFF_S = 3600.0
POISON_SERIES = 1000


@pytest.fixture
def trial(tmp_path: Path, patients: Patients) -> Iterator[Trial]:
    with Trial(tmp_path, patients) as trial:
        yield trial


@pytest.fixture
def rig(trial: Trial) -> Rig:
    return Rig(trial)


def events(appliance: Appliance, name: str) -> list[dict[str, Any]]:
    lines = map(json.loads, appliance.log.read_text().splitlines())
    return [line for line in lines if line["event"] == name]


def series_of(patients: Patients, patient: int, kind: str = "flagged") -> str:
    return uid_in(renamed(getattr(patients, kind)[0], patient))


def stage_of(appliance: Appliance, series: str) -> str | None:
    return {one["series"]: one["stage"] for one in appliance.status()["in_progress"]}.get(series[-6:])


def shown(appliance: Appliance, series: str) -> list[dict[str, Any]]:
    """The revisions of a series, as the journal has them."""
    return [json.loads(line) for line in appliance.cli("show", series, "--json").stdout.splitlines()]


# The engine


def test_a_probability_that_is_no_number_costs_its_series_and_no_other(
    trial: Trial, patients: Patients, tmp_path: Path
) -> None:
    model = no_number_above(tmp_path / "no_number.onnx", -700)
    trial.appliance.configure(model=str(model), tries=2, retry_after_s=FAR_OFF_S)
    with trial.life() as appliance:
        appliance.wait("the daemon is ready", appliance._ready)
        trial.scanner.series("bright", tuple(shifted(renamed(one, 1), 60) for one in patients.flagged))
        trial.scanner.clear(2)
        by_series = {one["series_uid"]: one for one in appliance.wait_for_findings(2)}
        appliance.wait("nothing else happens", lambda: not appliance.status()["in_progress"])
        assert appliance.why() == [], "the known answers are as ever"
    bright = by_series[series_of(patients, 1)]
    assert (bright["outcome"], bright["reason"], bright["probability"]) == ("failed", "engine_error", None)
    assert by_series[series_of(patients, 2, "clear")]["probability"] == pytest.approx(0.1)
    assert len(events(appliance, "engine_error")) == 2, "as often as it is tried"
    checks = [one["ok"] for one in events(appliance, "known_answers")]
    assert checks == [True] * 3, "at the start, and whenever the engine says what it may not"


def shifted(content: bytes, hu: float) -> bytes:
    """A slice that is brighter."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    dataset.RescaleIntercept = str(float(dataset.RescaleIntercept) + hu)
    made = io.BytesIO()
    dataset.save_as(made)
    return made.getvalue()


def test_what_an_engine_said_before_its_known_answers_failed_is_read_again(
    trial: Trial, rig: Rig, patients: Patients
) -> None:
    right, wrong, untold, told_later = (series_of(patients, patient) for patient in range(4))
    pace = {"floor_s": 0.3, "ceiling_s": 60.0, "sentinel": {"glob": "*.done"}}
    trial.appliance.configure(completeness=pace)
    with rig.life() as appliance:
        appliance.wait("the daemon is ready", appliance._ready)
        trial.scanner.flagged(0)
        appliance.wait_for_findings(1)
        rig.say("bias", "-0.9")
        trial.scanner.flagged(1)
        trial.scanner.write("1 flagged/all.done", b"")
        appliance.wait_for_findings(2)
        trial.scanner.flagged(2)
        appliance.wait("it is read", lambda: stage_of(appliance, untold) == "provisional")
        # What no engine may say has the known answers run at once.
        rig.say("nan")
        trial.scanner.flagged(3)
        appliance.wait("FAULT", lambda: appliance.why() == ["known_answers_failed"])
        assert httpx.get(f"{appliance.url}/readyz").status_code == 503
        for series in (untold, told_later):
            appliance.wait("it waits", lambda one=series: stage_of(appliance, one) == "waiting")  # type: ignore[misc]
        assert len(appliance.findings()) == 2
        rig.unsay("bias")
        appliance.wait("all is told", lambda: len(appliance.findings()) == 5, 30)
        appliance.wait("nothing is in flight", lambda: not appliance.status()["in_progress"])
        assert [one["outcome"] for one in shown(appliance, wrong)] == ["not_flagged", "flagged"]
        assert [one["confirmed_at"] for one in shown(appliance, right)] == [None], "not yet"
        # The next time that they pass confirms all that was read again.
        rig.say("nan")
        trial.scanner.flagged(4)
        appliance.wait("all is told", lambda: len(appliance.findings()) == 6)
        for series in (right, untold, told_later):
            (revision,) = shown(appliance, series)
            assert revision["outcome"] == "flagged"
            assert revision["confirmed_at"] is not None
        first, second = shown(appliance, wrong)
        assert (first["confirmed_at"], second["supersedes"]) == (None, first["reading_key"])
        assert second["confirmed_at"] is not None
    corrected = {wrong: second["reading_key"]}
    trial.judge(with_keys(read_offline(trial.appliance.export_folder), corrected))


def with_keys(expected: dict[str, Told], keys: dict[str, str]) -> dict[str, Told]:
    """The same, but for the keys of slices that were read once more and came out differently."""
    return {
        series: replace(told, reading_key=keys.get(series, told.reading_key))
        for series, told in expected.items()
    }


def test_a_series_that_the_engine_hangs_on_is_parked_and_the_others_are_read(
    trial: Trial, rig: Rig, patients: Patients
) -> None:
    hangs = series_of(patients, 1)
    trial.appliance.configure(engine_deadline_s=4, tries=2, retry_after_s=FAR_OFF_S)
    rig.say("hang")
    trial.scanner.flagged(1)
    trial.scanner.clear(2)
    for _ in range(2):
        with rig.life() as appliance:
            assert appliance.process is not None
            assert appliance.process.wait(60) == CRASHED
    with rig.life() as appliance:
        parked, clear = sorted(appliance.wait_for_findings(2), key=lambda one: one["outcome"])
        assert (parked["series_uid"], parked["reason"]) == (hangs, "engine_error")
        assert "2 times in a row" in parked["detail"]
        assert clear["outcome"] == "not_flagged"
        rig.unsay("hang")
        assert appliance.cli("retry", "--failed").stdout == "1 series is read again.\n"
        appliance.wait_for_findings(3)
        assert [one["outcome"] for one in shown(appliance, hangs)] == ["failed", "flagged"]
    trial.judge(read_offline(trial.appliance.export_folder))


# The process


def test_an_exception_in_any_thread_ends_the_process_and_loses_nothing(trial: Trial) -> None:
    for patient, point in enumerate(THREADS):
        trial.scanner.flagged(patient)
        with trial.life({VARIABLE: f"{point}:raise"}) as appliance:
            assert appliance.process is not None
            assert appliance.process.wait(60) == CRASHED, point
        crashes = events(appliance, "crashed")
        assert len(crashes) == patient + 1, point
        assert crashes[-1]["error"] == FaultRaised.__name__
        assert point not in appliance.log.read_text(), "the message of an exception may quote a file"
    trial.judge(read_offline(trial.appliance.export_folder))


@pytest.mark.parametrize("call_s", [5, 30])
def test_a_stop_in_the_middle_of_everything_is_clean_and_loses_nothing(
    call_s: int, trial: Trial, rig: Rig, patients: Patients
) -> None:
    # A try that a stop cut short is nobody's: here a second one would park the series.
    trial.appliance.configure(tries=1, retry_after_s=FAR_OFF_S)
    late = tuple(renamed(one, 3) for one in patients.flagged)
    with rig.life() as appliance:
        appliance.wait("the daemon is ready", appliance._ready)
        rig.say("pause", "deliver")
        trial.scanner.flagged(1)
        appliance.wait("a delivery is under way", lambda: rig.said("paused"))
        rig.say("slow", str(call_s))
        trial.scanner.flagged(2)
        reading = series_of(patients, 2)
        appliance.wait("a reading runs", lambda: stage_of(appliance, reading) == "reading")
        trial.scanner.series("3 late", late[:20])
        appliance.wait("a series arrives", lambda: stage_of(appliance, uid_in(late[0])) is not None)
        for patient in range(10, 16):
            trial.scanner.clear(patient)
        asked = time.monotonic()
        assert appliance.stop() == 0
        assert time.monotonic() - asked < STOPS_S
        assert "crashed" not in appliance.log.read_text()
    trial.scanner.series("3 late", late[20:], 20)
    trial.judge(read_offline(trial.appliance.export_folder))


def test_a_second_daemon_on_a_state_folder_says_so_and_disturbs_nobody(trial: Trial, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    with trial.life() as appliance:
        appliance.wait("the daemon is ready", appliance._ready)
        settings = {**yaml.safe_load(appliance.config.read_text()), "listen": "127.0.0.1:0"}
        other.write_text(yaml.safe_dump(settings))
        second = scanlight("run", "--config", other)
        assert second.returncode == CANNOT_START
        assert second.stderr.startswith("Another Scanlight runs on the state folder")
        assert second.stderr.count("\n") == 1
        trial.scanner.flagged(1)
        appliance.wait_for_findings(1)
        assert appliance.cli("retry", "--since", "2020-01-01").stdout == "1 series is read again.\n"
    trial.judge(read_offline(trial.appliance.export_folder))


# The files


def test_poison_costs_its_series_and_is_read_again_when_asked(
    trial: Trial, rig: Rig, patients: Patients, tmp_path: Path
) -> None:
    trial.appliance.configure(tries=2, worker_timeout_s=3.0, worker_memory_mb=256, retry_after_s=FAR_OFF_S)
    crash, hang, gorge, _ = poisoned = [series_of(patients, patient, "clear") for patient in range(4)]
    reasons = ("worker_crashed", "worker_timeout", "worker_memory", "worker_memory")
    rig.say("poison")
    with rig.life() as appliance:
        appliance.wait("the daemon is ready", appliance._ready)
        for patient, poison in enumerate(("crash", "hang", "gorge", "huge")):
            first, *most = (renamed(one, patient) for one in patients.clear)
            slice_ = tmp_path / f"{poison}-1.dcm"
            slice_.write_bytes(first)
            if poison == "huge":
                make_huge(slice_)
            folder = appliance.export_folder / f"{patient} poisoned"
            folder.mkdir()
            slice_.rename(folder / slice_.name)
            trial.scanner.series(folder.name, tuple(most), 1)
        for patient in (4, 5):
            trial.scanner.flagged(patient)
        by_series = {one["series_uid"]: one for one in appliance.wait_for_findings(6)}
        failures = [(by_series[series]["outcome"], by_series[series]["reason"]) for series in poisoned]
        assert failures == [("failed", reason) for reason in reasons]
        lost = len(events(appliance, "worker_lost"))
        assert lost == 2 * len(poisoned), "each as often as it is tried"

        rig.unsay("poison")
        assert appliance.cli("retry", crash[-12:]).stdout == "1 series is read again.\n"
        appliance.wait_for_findings(7)
        assert [one["outcome"] for one in shown(appliance, crash)] == ["failed", "not_flagged"]
        assert len(events(appliance, "worker_lost")) == lost, "nobody asked for the others"
        assert appliance.stop() == 0

    assert trial.appliance.cli("retry", "--failed").stdout == "3 series are read again.\n"
    with rig.life() as appliance:
        appliance.wait_for_findings(9)
        log = [json.loads(line) for line in (appliance.state / "audit.log").read_text().splitlines()]
        asked = [one for one in log if one["event"] == "retry_asked"]
        assert [set(one["series"]) for one in asked] == [{crash}, set(poisoned[1:])]
        assert {one["name"] for one in asked} == {getpass.getuser()}
        for series in (hang, gorge):
            assert [one["outcome"] for one in shown(appliance, series)] == ["failed", "not_flagged"]
        appliance.wait(
            "the huge one is parked again", lambda: len(events(appliance, "series_unchanged")) == 1
        )
        assert appliance.cli("retry", "--since", "2020-01-01").stdout == "6 series are read again.\n"
        appliance.wait("all are", lambda: len(events(appliance, "series_unchanged")) == 7)
        assert len(appliance.findings()) == 9, "what comes out as before is not told again"
        assert appliance.stop() == 0
    assert trial.wrong() == []


def make_huge(path: Path) -> None:
    """The pixels of a slice become 288 MB of nothing, as its header says."""
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = 12000
    del dataset.PixelData
    dataset.save_as(path)
    size = 2 * dataset.Rows * dataset.Columns
    with path.open("ab") as file:
        file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size))
        file.truncate(file.tell() + size)


def test_good_series_do_not_wait_for_a_thousand_poison_ones(
    trial: Trial, rig: Rig, patients: Patients
) -> None:
    trial.appliance.configure(tries=1, retry_after_s=FAR_OFF_S)
    rig.say("poison")
    good = {f"{series_of(patients, patient)}.r1.json" for patient in (-1, -2, -3)}

    def told() -> set[str]:
        return {path.name for path in trial.appliance.results.glob("[!.]*")}

    with rig.life() as appliance:
        appliance.wait("the daemon is ready", appliance._ready)
        for number in range(POISON_SERIES):
            content = renamed(patients.flagged[0], number)
            trial.scanner.write(f"poison/crash-{number}.dcm", content)
            if number % (POISON_SERIES // 3) == 300:
                trial.scanner.flagged(-1 - number // (POISON_SERIES // 3))
        appliance.wait("the good ones are told", lambda: good <= told(), 240)
        assert len(told()) < POISON_SERIES / 2, "long before the poison ones end"
        appliance.wait("all are told", lambda: len(told()) == POISON_SERIES + len(good), 240)
        ends = Counter((one["outcome"], one["reason"]) for one in appliance.findings())
        assert ends == {("flagged", None): len(good), ("failed", "worker_crashed"): POISON_SERIES}
        assert appliance.stop() == 0
    assert trial.wrong() == []
