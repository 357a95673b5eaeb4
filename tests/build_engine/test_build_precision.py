"""The mixed-precision model: FP16 inside, FP32 where it must be, and the same network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import built_networks as networks
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from engines.bundle import default_model
from tools.build_engine.graph import element_types, key, multiply_adds
from tools.build_engine.precision import halves, head, mixed, never_half
from tools.build_engine.source import read_source

HALF, FULL = TensorProto.FLOAT16, TensorProto.FLOAT


def run(model: onnx.ModelProto, hu: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"hu": hu.reshape(1, 1, *networks.SIZE)})


def test_the_trunk_is_fp16_and_the_head_is_not(tmp_path: Path) -> None:
    graph = networks.source(networks.network(), tmp_path).graph
    fp32 = head(graph)
    assert fp32 == {"mean", "flat", "logit", "probability", "heatmap"}
    model = mixed(graph, fp32)
    onnx.checker.check_model(model, full_check=True)
    kinds = element_types(model)
    assert {name for name, kind in kinds.items() if kind == HALF} == {
        *("hu__fp16", "clipped", "shifted", "scaled", "first", "first_relu", "pooled", "second", "maps"),
    }
    assert {kinds[name] for name in ("hu", "probability", "heatmap", "mean", "logit")} == {FULL}


def test_it_says_what_the_model_says(tmp_path: Path) -> None:
    graph = networks.source(networks.network(), tmp_path).graph
    hu = networks.chest(-400)
    for before, after in zip(run(graph, hu), run(mixed(graph, head(graph)), hu), strict=True):
        assert before.dtype == after.dtype == np.float32
        assert abs(before - after).max() < 2e-3
        assert (before != after).any()


def test_each_border_has_one_cast(tmp_path: Path) -> None:
    graph = networks.source(networks.network(), tmp_path).graph
    casts = [node for node in mixed(graph, head(graph)).graph.node if node.op_type == "Cast"]
    assert [(node.input[0], node.output[0]) for node in casts] == [("hu", "hu__fp16"), ("maps", "maps__fp32")]


def test_weights_of_fp16_operators_alone_are_rounded(tmp_path: Path) -> None:
    graph = networks.source(networks.network(), tmp_path).graph
    kinds = Counter(one.data_type for one in mixed(graph, head(graph)).graph.initializer)
    # Clip's two, the shift, the scale and two filters; the head's weights and bias; the heatmap's axis.
    assert kinds == {HALF: 6, FULL: 2, TensorProto.INT64: 1}


def test_an_output_of_an_fp16_operator_is_fp32(tmp_path: Path) -> None:
    """A heatmap that comes out of a convolution, and is read by another operator besides."""
    graph = networks.Graph()
    graph.add("Conv", "heatmap", "hu", networks.weights(1, 1, 3, 3, 3), pads=[1] * 6)
    graph.add("MaxPool", "pooled", "heatmap", kernel_shape=[2] * 3, strides=[2] * 3)
    graph.add("Flatten", "flat", graph.add("GlobalAveragePool", "mean", "pooled"))
    graph.add("Sigmoid", "probability", "flat")
    size = ("heatmap", (1, 1, *networks.SIZE))
    source = networks.source(graph.model([networks.PROBABILITY, size]), tmp_path).graph
    model = mixed(source, head(source))
    onnx.checker.check_model(model, full_check=True)
    kinds = element_types(model)
    assert (kinds["heatmap"], kinds["heatmap__fp16"], kinds["pooled"]) == (FULL, HALF, HALF)
    hu = networks.chest(-400)
    assert abs(run(model, hu)[1] - run(source, hu)[1]).max() < 1


def test_a_squeeze_between_convolutions_is_no_head(tmp_path: Path) -> None:
    graph = networks.Graph()
    squeezed = graph.add("GlobalAveragePool", "squeezed", "hu")
    scaled = graph.add("Mul", "excited", "hu", graph.add("Sigmoid", "gate", squeezed))
    graph.add("Conv", "maps", scaled, networks.weights(1, 1, 1, 1, 1))
    graph.add("Flatten", "flat", graph.add("GlobalAveragePool", "mean", "maps"))
    graph.add("Sigmoid", "probability", "flat")
    spec = networks.SPEC.model_copy(update={"heatmap": None})
    model = networks.source(graph.model([networks.PROBABILITY], spec=spec), tmp_path).graph
    assert head(model) == {"mean", "flat", "probability"}


@pytest.mark.parametrize("constant", [1e-9, 1e6, -1e6])
def test_what_fp16_cannot_hold_of_the_weights_keeps_its_operator_in_fp32(
    tmp_path: Path, constant: float
) -> None:
    graph = networks.Graph()
    graph.add("Conv", "maps", graph.add("Add", "added", "hu", constant), networks.weights(1, 1, 1, 1, 1))
    graph.add("Flatten", "flat", graph.add("GlobalAveragePool", "mean", "maps"))
    graph.add("Sigmoid", "probability", "flat")
    spec = networks.SPEC.model_copy(update={"heatmap": None})
    model = networks.source(graph.model([networks.PROBABILITY], spec=spec), tmp_path).graph
    assert never_half(model) == {"added": "a constant of it is beyond the range of FP16"}


def test_operators_that_are_not_known_in_fp16_stay(tmp_path: Path) -> None:
    graph = networks.Graph()
    graph.add("Conv", "maps", graph.add("Round", "rounded", "hu"), networks.weights(1, 1, 1, 1, 1))
    graph.add("Flatten", "flat", graph.add("GlobalAveragePool", "mean", "maps"))
    graph.add("Sigmoid", "probability", "flat")
    spec = networks.SPEC.model_copy(update={"heatmap": None})
    model = networks.source(graph.model([networks.PROBABILITY], spec=spec), tmp_path).graph
    assert list(never_half(model)) == ["rounded"]
    assert halves(model, frozenset(["rounded"])) == {"maps", "mean", "flat", "probability"}


def test_the_demonstration_model() -> None:
    graph = read_source(default_model()).graph
    model = mixed(graph, head(graph))
    kinds = element_types(model)
    convolutions = [key(node) for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 49
    assert {kinds[name] for name in convolutions} == {HALF}
    assert sum(multiply_adds(graph).values()) / 1e9 == pytest.approx(9.06, abs=0.01)
    cast = Counter(node.op_type for node in model.graph.node)["Cast"]
    assert cast == 3
    biases = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    assert biases["network.head.first.weight"].dtype == np.float32
