"""Bundles whose plan the double can read, on any machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import sample_bundle
from onnx import TensorProto, helper, numpy_helper
from tensorrt_double import MAGIC, __version__

from appliance.known_answers import expected_of
from engines.bundle import ParityInfo, PlanInfo
from engines.spec import Grid, ModelSpec, to_metadata

EVERY_GPU = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "10.3", "12.0", "12.1")
"""The double runs on the CPU, whatever GPU the driver has."""

SMALL = ModelSpec(
    name="small",
    version="1",
    imaging_version=1,
    input="volume",
    layout="NCDHW",
    grid=Grid(size=(8, 16, 16), spacing_mm=(5.0, 3.2, 3.2)),
    output="logit",
    output_kind="logit",
    heatmap="heatmap",
    operating_point=0.5,
    population="none",
    trained_on="nothing",
    intended_use="placeholder",
    licence="Apache-2.0",
)


PLAN = PlanInfo(
    file="engine.plan",
    onnx="model.fp16.onnx",
    known_answers="known-answers.json",
    flavour="rtx",
    tensorrt=__version__,
    compute_capabilities=EVERY_GPU,
    device=None,
    options={},
    parity=ParityInfo(volumes=50, near=20, largest_delta=0.0, lowest_correlation=1.0, trained=False),
)


def small_network(head: tuple[float, float, float, float] = (3.0, -2.0, 2.5, -4.0)) -> bytes:
    """A convolution over HU / 1000: its rectified channels make the heatmap, and their means the logit."""
    chance = np.random.default_rng(7)
    weights = {
        "per_hu": np.float32(0.001),
        "kernel": chance.normal(0, 0.6, (4, 1, 2, 2, 2)).astype(np.float32),
        "sum": np.ones((1, 4, 1, 1, 1), np.float32),
        "head": np.array(head, np.float32)[:, None],
    }
    nodes = [
        helper.make_node("Mul", ["volume", "per_hu"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "kernel"], ["seen"], strides=[2, 2, 2]),
        helper.make_node("Relu", ["seen"], ["kept"]),
        helper.make_node("Conv", ["kept", "sum"], ["heatmap"]),
        helper.make_node("GlobalAveragePool", ["kept"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logit"]),
    ]
    depth, height, width = SMALL.grid.size
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("volume", float32, (1, 1, depth, height, width))],
        [
            helper.make_tensor_value_info("logit", float32, (1, 1)),
            helper.make_tensor_value_info("heatmap", float32, (1, 1, depth // 2, height // 2, width // 2)),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, to_metadata(SMALL))
    return model.SerializeToString()


def small_volumes(count: int) -> np.ndarray:
    """Volumes of HU [count, D, H, W] that differ in what the network makes of them."""
    chance = np.random.default_rng(11)
    means = np.linspace(-900, 200, count)[:, None, None, None]
    return chance.normal(means, 250, (count, *SMALL.grid.size)).astype(np.float32)


def write_bundle(
    folder: Path, content: bytes, plan_content: bytes | None = None, **of_the_plan: object
) -> Path:
    """A bundle of the model `content`, whose plan the double computes in the model's own precision.

    Its known answers are those that ship for the model: of another there are none.
    """
    answers = expected_of(hashlib.sha256(content).hexdigest()) or {}
    info = PLAN.model_copy(update=of_the_plan)
    return sample_bundle.write_bundle(folder, content, plan_content or MAGIC + content, answers, info)
