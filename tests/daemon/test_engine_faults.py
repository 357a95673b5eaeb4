"""Engines that hang, or say what no engine may say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from faulty_models import hanging, overconfident
from harness import Appliance


def test_an_engine_call_past_its_deadline_ends_the_process(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path, model=str(hanging(tmp_path / "hang.onnx")), engine_deadline_s=2)
    with appliance.launched():
        assert appliance.process is not None
        assert appliance.process.wait(30) == 70
    last = json.loads(appliance.log.read_text().splitlines()[-1])
    assert (last["event"], last["hung"]) == ("crashed", True)


def test_an_impossible_probability_is_a_fault_and_nothing_is_read(
    tmp_path: Path, small_chest: Callable[[str], list[Path]]
) -> None:
    appliance = Appliance(tmp_path, model=str(overconfident(tmp_path / "six.onnx")))
    with appliance.launched():
        appliance.wait("known answers were tried", lambda: "known_answers_failed" in appliance.why(), 30)
        appliance.copy(small_chest("covid"), "study")
        appliance.wait("the series waits", lambda: bool(appliance.status()["in_progress"]), 20)
        appliance.wait(
            "it is read as soon as that is possible",
            lambda: appliance.status()["in_progress"][0]["stage"] == "waiting",
            20,
        )
        assert appliance.status()["state"] == "fault"
        assert appliance.findings() == []
        assert appliance.stop() == 0
