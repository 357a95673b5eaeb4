"""Tiny real ONNX models on a grid of 4 × 8 × 8 voxels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.spec import Grid, ModelSpec, to_metadata

GRID = (4, 8, 8)

SPEC = ModelSpec(
    name="tiny",
    version="1",
    imaging_version=1,
    input="volume",
    layout="NCDHW",
    grid=Grid(size=GRID, spacing_mm=(5.0, 3.2, 3.2)),
    output="probability",
    output_kind="probability",
    operating_point=0.5,
    population="none",
    trained_on="nothing",
    intended_use="placeholder",
    licence="Apache-2.0",
)


def tiny_model(
    spec: ModelSpec = SPEC, *, scale: float = 0.0, biases: tuple[float, ...] = (0.25,)
) -> onnx.ModelProto:
    """A network whose class i is biases[i] + scale × the mean of the volume.

    Where the specification names a heatmap, it is the mean of each 2 × 2 × 2 voxels times `scale`.
    """
    channels_last = spec.layout == "NDHWC"
    shape = (1, *spec.grid.size, 1) if channels_last else (1, 1, *spec.grid.size)
    nodes, source = [], spec.input
    if channels_last:
        nodes.append(helper.make_node("Transpose", [spec.input], ["first"], perm=[0, 4, 1, 2, 3]))
        source = "first"
    nodes += [
        helper.make_node("Mul", [source, "scale"], ["scaled"]),
        helper.make_node("GlobalAveragePool", ["scaled"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("Add", ["flat", "biases"], [spec.output]),
    ]
    outputs = [helper.make_tensor_value_info(spec.output, TensorProto.FLOAT, (1, len(biases)))]
    if spec.heatmap:
        cells = tuple(size // 2 for size in spec.grid.size)
        pooled = "pooled" if channels_last else spec.heatmap
        nodes.append(
            helper.make_node("AveragePool", ["scaled"], [pooled], kernel_shape=(2, 2, 2), strides=(2, 2, 2))
        )
        if channels_last:
            nodes.append(helper.make_node("Transpose", [pooled], [spec.heatmap], perm=[0, 2, 3, 4, 1]))
        heatmap_shape = (1, *cells, 1) if channels_last else (1, 1, *cells)
        outputs.append(helper.make_tensor_value_info(spec.heatmap, TensorProto.FLOAT, heatmap_shape))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(spec.input, TensorProto.FLOAT, shape)],
        outputs,
        [
            numpy_helper.from_array(np.float32(scale), "scale"),
            numpy_helper.from_array(np.array([biases], np.float32), "biases"),
        ],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, to_metadata(spec))
    return model


@pytest.fixture
def spec() -> ModelSpec:
    return SPEC


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a `tiny_model` and gives its path."""

    def make(*args: ModelSpec, **kwargs: object) -> Path:
        path = tmp_path / "tiny.onnx"
        onnx.save(tiny_model(*args, **kwargs), path)
        return path

    return make
