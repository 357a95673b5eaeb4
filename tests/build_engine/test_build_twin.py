"""The rounding twin rounds where the plan does, and ONNX Runtime leaves its casts where they are."""

from __future__ import annotations

import math
from pathlib import Path

import built_networks as networks
import numpy as np
import onnx
import onnxruntime

from engines.onnxruntime import OnnxRuntimeEngine
from tools.build_engine.graph import key
from tools.build_engine.precision import head, mixed, never_half
from tools.build_engine.twin import Twin, rounding


def everything(graph: onnx.ModelProto) -> frozenset[str]:
    return frozenset(key(node) for node in graph.graph.node)


def test_all_in_fp32_it_is_the_model(tmp_path: Path) -> None:
    source = networks.source(networks.network(), tmp_path)
    hu = networks.chest(-400)
    expected = OnnxRuntimeEngine(source.file).infer(hu)
    reading = Twin(source.graph, source.spec, everything(source.graph)).read(hu)
    assert abs(reading.probability - expected.probability) < 1e-6
    assert abs(reading.heatmap - expected.heatmap).max() < 1e-6


def test_an_overflow_is_seen_where_the_fp16_graph_hides_it(tmp_path: Path) -> None:
    """The first convolution gives 1e5, which the second divides again."""
    source = networks.source(networks.network(gain=1e5), tmp_path)
    hu = networks.chest(-100)
    fp32 = head(source.graph)
    content = mixed(source.graph, fp32).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    clean, _ = session.run(None, {"hu": hu.reshape(1, 1, *networks.SIZE)})
    expected = OnnxRuntimeEngine(source.file).infer(hu).probability
    assert abs(float(clean.item()) - expected) < 0.01
    reading = Twin(source.graph, source.spec, fp32).read(hu)
    assert "not finite" in reading.problem
    assert reading.largest["first"] > 65504
    assert math.isinf(reading.largest["pooled"])


def test_what_is_not_a_number_is_seen_behind_a_clip(tmp_path: Path) -> None:
    """Infinity times nothing, which Clip takes for a bound of its own."""
    graph = networks.Graph()
    big = graph.add("Mul", "big", "hu", 1000.0)
    gone = graph.add("Mul", "gone", big, 0.0)
    maps = graph.add(
        "Conv", "maps", graph.add("Clip", "clipped", gone, 0.0, 1.0), networks.weights(1, 1, 1, 1, 1)
    )
    graph.add("Flatten", "flat", graph.add("GlobalAveragePool", "mean", maps))
    graph.add("Sigmoid", "probability", "flat")
    spec = networks.SPEC.model_copy(update={"heatmap": None})
    source = networks.source(graph.model([networks.PROBABILITY], spec=spec), tmp_path)
    hu = np.ones(networks.SIZE, np.float32)
    hu[3, 4, 5] = 400
    assert math.isnan(Twin(source.graph, source.spec, frozenset()).read(hu).largest["gone"])


def test_it_rounds_to_the_bit_as_fp16_does(tmp_path: Path) -> None:
    graph = networks.Graph()
    shifted = graph.add("Add", "shifted", "hu", 1000.1)
    scaled = graph.add("Mul", "scaled", shifted, 1 / 1200)
    graph.add("MaxPool", "maps", scaled, kernel_shape=[2] * 3, strides=[2] * 3)
    graph.add("Relu", "heatmap", "maps")
    graph.add("Flatten", "flat", graph.add("GlobalMaxPool", "top", "maps"))
    graph.add("Sigmoid", "probability", "flat")
    source = networks.source(graph.model([networks.PROBABILITY, networks.HEATMAP]), tmp_path)
    hu = networks.chest(-400)
    half = np.float16
    expected = (hu.astype(half) + half(1000.1)) * half(np.float32(1 / 1200))
    expected = expected.reshape(4, 2, 8, 2, 8, 2).max((1, 3, 5))
    reading = Twin(source.graph, source.spec, frozenset()).read(hu)
    assert (reading.heatmap == expected.astype(np.float32)).all()
    exact = Twin(source.graph, source.spec, everything(source.graph)).read(hu)
    assert (exact.heatmap != reading.heatmap).any()


def test_every_output_of_an_fp16_operator_goes_through_fp16(tmp_path: Path) -> None:
    source = networks.source(networks.network(), tmp_path)
    fp32 = head(source.graph) | frozenset(never_half(source.graph))
    twin = rounding(source.graph, fp32)
    onnx.checker.check_model(twin, full_check=True)
    writers = {name: node for node in twin.graph.node for name in node.output}
    for node in source.graph.graph.node:
        (name,) = node.output
        rounds = [writers[name].op_type, writers[writers[name].input[0]].op_type]
        assert (rounds == ["Cast", "Cast"]) == (name not in fp32), name


def test_the_largest_is_over_the_whole_tensor_before_rounding(tmp_path: Path) -> None:
    source = networks.source(networks.network(), tmp_path)
    hu = networks.chest(-400)
    hu[3, 4, 5] = -3000.7
    largest = Twin(source.graph, source.spec, head(source.graph)).read(hu).largest
    assert largest["hu"] == np.float32(3000.7)
    assert largest["clipped"] == 1000
    assert float(np.float16(largest["second"])) != largest["second"]
    assert 0 < largest["maps"] < 1
