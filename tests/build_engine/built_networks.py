"""Small networks to convert: the parts of a real one, on a grid of a few voxels that holds a chest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.protocol import Engine
from engines.spec import Grid, ModelSpec, to_metadata
from tools.build_engine.source import Source, read_source

SIZE = (8, 16, 16)
PHANTOMS = 0.299
"""The mean of the maps of which half of the phantoms have more."""

OPSET = 17

SPEC = ModelSpec(
    name="small",
    version="1",
    imaging_version=1,
    input="hu",
    layout="NCDHW",
    grid=Grid(size=SIZE, spacing_mm=(40.0, 26.0, 26.0)),
    output="probability",
    output_kind="probability",
    heatmap="heatmap",
    operating_point=0.5,
    population="none",
    trained_on="nothing: weights set by hand",
    intended_use="research",
    licence="Apache-2.0",
)


class Graph:
    """Nodes in their order; each method adds one and names its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, out: str, *inputs: str | float | np.ndarray, **attributes: Any) -> str:
        names = [one if isinstance(one, str) else self._constant(one) for one in inputs]
        self.nodes.append(helper.make_node(op, names, [out], name=f"node_{out}", **attributes))
        return out

    def _constant(self, value: float | np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        array = np.float32(value) if isinstance(value, float) else value
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def model(
        self,
        outputs: Sequence[tuple[str, Sequence[int | str]]],
        shape: Sequence[int | str] = (1, 1, *SIZE),
        spec: ModelSpec | None = SPEC,
    ) -> onnx.ModelProto:
        info = helper.make_tensor_value_info
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                "small",
                [info("hu", TensorProto.FLOAT, shape)],
                [info(name, TensorProto.FLOAT, sizes) for name, sizes in outputs],
                self.constants,
            ),
            ir_version=8,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        if spec is not None:
            helper.set_model_props(model, to_metadata(spec))
        onnx.checker.check_model(model, full_check=True)
        return model


HEATMAP = ("heatmap", (1, 1, 4, 8, 8))
PROBABILITY = ("probability", (1, 1))


def weights(*shape: int, seed: int = 1) -> np.ndarray:
    """Positive, and every filter sums to 1: what goes in comes out at about the same size."""
    drawn = np.random.default_rng(seed).uniform(0.2, 1, shape).astype(np.float32)
    return drawn / drawn.reshape(shape[0], -1).sum(1).reshape(-1, *[1] * (len(shape) - 1))


def network(
    *,
    gain: float = 1.0,
    scale: float = 1 / 1200,
    slope: float = 40.0,
    middle: float = 0.5,
    spec: ModelSpec | None = SPEC,
) -> onnx.ModelProto:
    """Scaled HU, two convolutions with a pooling between, a head on their mean and a heatmap.

    `scale` is of the HU from 0 at -1000 on, `gain` of the first convolution, whose output the second divides
    by it again. The probability is a half where the mean of the scaled HU is about `middle`, and as steep as
    `slope`.
    """
    graph = Graph()
    clipped = graph.add("Clip", "clipped", "hu", -1000.0, 200.0)
    scaled = graph.add("Mul", "scaled", graph.add("Add", "shifted", clipped, 1000.0), scale)
    first = graph.add("Conv", "first", scaled, weights(4, 1, 3, 3, 3) * np.float32(gain), pads=[1] * 6)
    pooled = graph.add("MaxPool", "pooled", graph.add("Relu", "first_relu", first), kernel_shape=[2] * 3,
                       strides=[2] * 3)  # fmt: skip
    second = graph.add(
        "Conv",
        "second",
        pooled,
        weights(4, 4, 3, 3, 3, seed=2) / np.float32(gain * 1200 * scale),
        pads=[1] * 6,
    )
    maps = graph.add("Relu", "maps", second)
    averaged = graph.add("Flatten", "flat", graph.add("GlobalAveragePool", "mean", maps), axis=1)
    slopes = np.full((4, 1), slope / 4, np.float32)
    logit = graph.add("Gemm", "logit", averaged, slopes, np.array([-slope * middle], np.float32))
    graph.add("Sigmoid", "probability", logit)
    graph.add("ReduceSum", "heatmap", maps, np.array([1]), keepdims=1)
    return graph.model([PROBABILITY, HEATMAP], spec=spec)


KERAS_SPEC = SPEC.model_copy(update={"name": "keras", "layout": "NDHWC"})


def keras(*, slope: float = 40.0, middle: float = PHANTOMS) -> onnx.ModelProto:
    """As tf2onnx writes a Keras model: channels last, a Transpose on either side of each convolution and
    pooling, batches of any size, biases added afterwards; and no specification."""
    graph = Graph()

    def channels_first(op: str, out: str, given: str, *inputs: np.ndarray, **attributes: Any) -> str:
        inside = graph.add("Transpose", f"{out}_in", given, perm=[0, 4, 1, 2, 3])
        made = graph.add(op, f"{out}_made", inside, *inputs, **attributes)
        return graph.add("Transpose", out, made, perm=[0, 2, 3, 4, 1])

    shifted = graph.add("Add", "shifted", graph.add("Clip", "clipped", "hu", -1000.0, 200.0), 1000.0)
    scaled = graph.add("Mul", "scaled", shifted, 1 / 1200)
    first = channels_first("Conv", "first", scaled, weights(4, 1, 3, 3, 3), pads=[1] * 6)
    biased = graph.add("Add", "biased", first, np.full(4, 0.001, np.float32))
    rectified = graph.add("Relu", "first_relu", biased)
    pooled = channels_first("MaxPool", "pooled", rectified, kernel_shape=[2] * 3, strides=[2] * 3)
    second = channels_first("Conv", "second", pooled, weights(4, 4, 3, 3, 3, seed=2), pads=[1] * 6)
    maps = graph.add("Relu", "maps", second)
    mean = graph.add("ReduceMean", "mean", maps, axes=[1, 2, 3], keepdims=0)
    product = graph.add("MatMul", "product", mean, np.full((4, 1), slope / 4, np.float32))
    graph.add(
        "Sigmoid", "probability", graph.add("Add", "logit", product, np.array([-slope * middle], np.float32))
    )
    lit = channels_first("Conv", "lit", maps, weights(1, 4, 1, 1, 1, seed=3))
    graph.add("Relu", "heatmap", lit)
    outputs = [("probability", ("unk__1", 1)), ("heatmap", ("unk__2", 4, 8, 8, 1))]
    return graph.model(outputs, ("unk__0", *SIZE, 1), None)


def source(model: onnx.ModelProto, folder: Path) -> Source:
    path = folder / "small.onnx"
    onnx.save(model, path)
    return read_source(path)


def at_the_point(engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    """Two volumes that are all but the same, the first with a probability below a half, the other not."""
    hu = chest(-400)
    low, high = -500.0, 500.0
    for _ in range(40):
        middle = (low + high) / 2
        above = engine.infer(hu + np.float32(middle)).probability >= 0.5
        low, high = (low, middle) if above else (middle, high)
    return hu + np.float32(low), hu + np.float32(high)


def chest(mean: float, seed: int = 1) -> np.ndarray:
    """Not one, but HU around a mean."""
    return np.random.default_rng(seed).normal(mean, 100, SIZE).astype(np.float32)
