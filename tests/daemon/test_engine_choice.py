"""Which engine reads: the wanted one, another that says why, or none, which is FAULT and repairs itself."""

from __future__ import annotations

from pathlib import Path

from harness import Appliance
from sample_bundle import make_bundle


def test_auto_reads_on_the_processor_and_says_why(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    with Appliance(tmp_path, model=str(bundle)) as appliance:
        status = appliance.status()
        engine = status["facts"]["model"]["engine"]
        assert (engine["runner"], engine["device"]) == ("onnxruntime", "cpu")
        assert status["facts"]["model"]["engine_why"].startswith("tensorrt is not installed")
        assert "engine_fallback" in status["notices"]
        assert appliance.stop() == 0


def test_an_engine_that_does_not_open_is_a_fault_and_stops_cleanly(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    appliance = Appliance(tmp_path, model=str(bundle), engine="tensorrt")
    with appliance.launched():
        appliance.wait("it is told", lambda: "engine_not_opened" in appliance.why(), 60)
        assert "tensorrt is not installed" in appliance.status()["facts"]["model"]["engine_why"]
        assert appliance.status()["state"] == "fault"
        assert appliance.stop() == 0
    told = [line for line in appliance.log.read_text().splitlines() if "engine_not_opened" in line]
    assert len(told) == 1


def test_a_bundle_whose_answers_are_not_its_model_s_reads_nothing(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", probability_off=0.5)
    appliance = Appliance(tmp_path, model=str(bundle))
    with appliance.launched():
        appliance.wait("it is told", lambda: "known_answers_failed" in appliance.why(), 60)
        assert appliance.stop() == 0
