"""Which engine reads: the wanted one, another that says why, or none, which is FAULT and repairs itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness import Appliance

from engines.bundle import ParityInfo, PlanInfo, default_model, load_model, write_manifest

SHIPPED = Path("appliance/known_answers/csac-net-edge.json")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The model that ships with a plan that no TensorRT here was asked for."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    model = load_model(default_model())
    (folder / "model.onnx").write_bytes(model.content)
    (folder / "model.fp16.onnx").write_bytes(b"")
    (folder / "engine.plan").write_bytes(b"vtrt")
    answers = json.loads(SHIPPED.read_text())["answers"]
    (folder / "known-answers.json").write_text(json.dumps(answers))
    write_manifest(folder, "model.onnx", model.spec, plan_info())
    return folder


def plan_info() -> PlanInfo:
    return PlanInfo(
        file="engine.plan",
        onnx="model.fp16.onnx",
        known_answers="known-answers.json",
        flavour="enterprise",
        tensorrt="10.9",
        compute_capabilities=("8.6",),
        device="a GPU of another machine",
        options={},
        parity=ParityInfo(volumes=50, near=20, largest_delta=0.004, lowest_correlation=0.999, trained=True),
    )


def test_auto_reads_on_the_processor_and_says_why(tmp_path: Path, bundle: Path) -> None:
    with Appliance(tmp_path, model=str(bundle)) as appliance:
        status = appliance.status()
        engine = status["facts"]["model"]["engine"]
        assert (engine["runner"], engine["device"]) == ("onnxruntime", "cpu")
        assert status["facts"]["model"]["engine_why"].startswith("tensorrt is not installed")
        assert "engine_fallback" in status["notices"]
        assert appliance.stop() == 0


def test_an_engine_that_does_not_open_is_a_fault_and_stops_cleanly(tmp_path: Path, bundle: Path) -> None:
    appliance = Appliance(tmp_path, model=str(bundle), engine="tensorrt")
    with appliance.launched():
        appliance.wait("it is told", lambda: "engine_not_opened" in appliance.why(), 60)
        assert "tensorrt is not installed" in appliance.status()["facts"]["model"]["engine_why"]
        assert appliance.status()["state"] == "fault"
        assert appliance.stop() == 0
    told = [line for line in appliance.log.read_text().splitlines() if "engine_not_opened" in line]
    assert len(told) == 1


def test_a_bundle_whose_answers_are_not_its_model_s_reads_nothing(tmp_path: Path, bundle: Path) -> None:
    answers = json.loads((bundle / "known-answers.json").read_text())
    for answer in answers.values():
        answer["probability"] = (answer["probability"] + 0.5) % 1
    (bundle / "known-answers.json").write_text(json.dumps(answers))
    write_manifest(bundle, "model.onnx", load_model(default_model()).spec, plan_info())
    appliance = Appliance(tmp_path, model=str(bundle))
    with appliance.launched():
        appliance.wait("it is told", lambda: "known_answers_failed" in appliance.why(), 60)
        assert appliance.stop() == 0
