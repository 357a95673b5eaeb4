"""Models for the shipped one's grid that do what no model should."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import embedded_model, load_model
from engines.spec import Grid, to_metadata


def model(
    path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], grid: Grid | None = None
) -> Path:
    """A model from `volume`, whose mean is `mean`, to `probability`."""
    shipped = load_model(embedded_model("densitometry")).spec
    changed = {"name": "fault", "input": "volume", "output": "probability", "heatmap": None}
    spec = shipped.model_copy(update={**changed, "grid": grid or shipped.grid})
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["volume"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["mean"], axis=1),
            *nodes,
        ],
        "fault",
        [helper.make_tensor_value_info("volume", TensorProto.FLOAT, (1, 1, *spec.grid.size))],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, (1, 1))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, to_metadata(spec))
    onnx.save(made, path)
    return path


def slow(path: Path, grid: Grid | None = None) -> Path:
    """Takes more than a second for a volume, whatever the processor: 0.3 tera-operations."""
    names = [f"turn {number}" for number in range(150)]
    nodes = [
        helper.make_node("Expand", ["mean", "shape"], names[:1]),
        *(helper.make_node("MatMul", [before, "same"], [one]) for before, one in itertools.pairwise(names)),
        helper.make_node("ReduceMean", names[-1:], ["one"], keepdims=1),
        helper.make_node("Sigmoid", ["one"], ["probability"]),
    ]
    constants = {"shape": np.array([1024, 1024], np.int64), "same": np.eye(1024, dtype=np.float32)}
    return model(path, nodes, constants, grid)


def hanging(path: Path) -> Path:
    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["carried", "one"], ["next"]),
        ],
        "forever",
        [
            scalar("turn", TensorProto.INT64, ()),
            scalar("go", TensorProto.BOOL, ()),
            scalar("carried", TensorProto.FLOAT, (1, 1)),
        ],
        [scalar("go_on", TensorProto.BOOL, ()), scalar("next", TensorProto.FLOAT, (1, 1))],
    )
    nodes = [helper.make_node("Loop", ["turns", "yes", "mean"], ["probability"], body=body)]
    constants = {
        "turns": np.array(2**62, np.int64),
        "yes": np.array(True),
        "one": np.ones((1, 1), np.float32),
    }
    return model(path, nodes, constants)


def overconfident(path: Path) -> Path:
    """A probability of 600 %."""
    nodes = [
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "six"], ["probability"]),
    ]
    constants = {"zero": np.zeros((1, 1), np.float32), "six": np.full((1, 1), 6, np.float32)}
    return model(path, nodes, constants)


def no_number_above(path: Path, hu: float) -> Path:
    """A probability of 10 %, and none at all (0 / 0) for a volume whose mean is above so many HU."""
    nodes = [
        helper.make_node("Greater", ["mean", "limit"], ["above"]),
        helper.make_node("Cast", ["above"], ["one_above"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "one_above"], ["zero_above"]),
        helper.make_node("Mul", ["one_above", "zero"], ["zeros"]),
        helper.make_node("Div", ["zeros", "zero_above"], ["no_number_above"]),
        helper.make_node("Add", ["no_number_above", "tenth"], ["probability"]),
    ]
    constants = {
        name: np.full((1, 1), value, np.float32)
        for name, value in (("limit", hu), ("one", 1), ("zero", 0), ("tenth", 0.1))
    }
    return model(path, nodes, constants)
