"""Bundles with a plan, made without TensorRT: for all that comes before a plan is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from appliance.known_answers import SERIES
from engines.bundle import ParityInfo, PlanInfo, default_model, load_model, write_manifest

INFO = PlanInfo(
    file="engine.plan",
    onnx="model.fp16.onnx",
    known_answers="known-answers.json",
    flavour="enterprise",
    tensorrt="10.9",
    compute_capabilities=("8.6",),
    device="a GPU of another machine",
    options={"hardware_compatible": False},
    parity=ParityInfo(volumes=50, near=20, largest_delta=0.004, lowest_correlation=0.999, trained=True),
)


def make_bundle(folder: Path, *, probability_off: float = 0.0, **info: Any) -> Path:
    """The model that ships with a plan that is none, and answers that are `probability_off`."""
    folder.mkdir()
    model = load_model(default_model())
    (folder / "model.onnx").write_bytes(model.content)
    (folder / "model.fp16.onnx").write_bytes(b"")
    (folder / "engine.plan").write_bytes(b"vtrt")
    answers = json.loads((SERIES / f"{default_model().stem}.json").read_text())["answers"]
    for answer in answers.values():
        answer["probability"] = abs(answer["probability"] - probability_off)
    (folder / "known-answers.json").write_text(json.dumps(answers))
    write_manifest(folder, "model.onnx", model.spec, INFO.model_copy(update=info))
    return folder
