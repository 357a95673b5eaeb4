"""Bundles with a plan, made without TensorRT."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from appliance.known_answers import Answer, expected_of, render
from engines.bundle import ParityInfo, PlanInfo, default_model, write_manifest
from engines.spec import from_metadata

INFO = PlanInfo(
    file="engine.plan",
    onnx="model.fp16.onnx",
    known_answers="known-answers.json",
    flavour="enterprise",
    tensorrt="10.9",
    compute_capabilities=("8.6",),
    device="a GPU of another machine",
    driver="580.65.06",
    options={"hardware_compatible": False},
    parity=ParityInfo(volumes=50, near=20, largest_delta=0.004, lowest_correlation=0.999, trained=True),
)


def make_bundle(folder: Path, *, probability_off: float = 0.0, **info: Any) -> Path:
    """The model that ships with a plan that is none, and answers that are `probability_off`."""
    content = default_model().read_bytes()
    answers = expected_of(hashlib.sha256(content).hexdigest())
    assert answers is not None
    wrong = {
        name: replace(answer, probability=abs(answer.probability - probability_off))
        for name, answer in answers.items()
    }
    return write_bundle(folder, content, b"vtrt", wrong, INFO.model_copy(update=info))


def write_bundle(
    folder: Path, content: bytes, plan: bytes, answers: dict[str, Answer], info: PlanInfo
) -> Path:
    """The bundle of a model, which is its own mixed-precision model too."""
    folder.mkdir()
    for name in ("model.onnx", info.onnx):
        (folder / name).write_bytes(content)
    (folder / info.file).write_bytes(plan)
    (folder / info.known_answers).write_text(render(answers))
    properties = onnx.load_from_string(content).metadata_props
    spec = from_metadata({one.key: one.value for one in properties})
    write_manifest(folder, "model.onnx", spec, info)
    return folder
