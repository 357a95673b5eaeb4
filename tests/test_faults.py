"""Points of failure: known by name, each in the code, free when not armed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import appliance
from appliance.faults import POINTS, VARIABLE, Armed


def test_every_point_is_reached_somewhere_and_no_other() -> None:
    code = "\n".join(path.read_text() for path in Path(appliance.__file__).parent.rglob("*.py"))
    assert set(re.findall(r'\breach\("([^"]+)"\)', code)) == set(POINTS)


def reaching(point: str, times: int, armed: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    script = f"from appliance.faults import reach\nfor n in range({times}): reach({point!r}); print(n)"
    return subprocess.run(
        [sys.executable, "-u", "-c", script],
        env={VARIABLE: armed},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def test_a_process_is_killed_the_time_that_was_asked_for() -> None:
    ended = reaching("finding.recorded", 5, "finding.recorded:kill:3")
    assert (ended.returncode, ended.stdout.split()) == (-signal.SIGKILL, ["0", "1"])


def test_a_point_can_raise_and_another_does_nothing() -> None:
    assert "FaultRaised: watch.scanned" in reaching("watch.scanned", 1, "watch.scanned:raise").stderr
    assert reaching("watch.scanned", 2, "finding.recorded").stdout.split() == ["0", "1"]
    assert reaching("watch.scanned", 2, "").returncode == 0


def test_a_point_can_hang() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        reaching("watch.scanned", 1, "watch.scanned:hang", timeout_s=2)


@pytest.mark.parametrize(
    "text", ["nowhere", "watch.scanned:burn", "watch.scanned:kill:0", "watch.scanned::x"]
)
def test_what_names_no_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=VARIABLE):
        Armed.parse(text)
