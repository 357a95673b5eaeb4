"""More goes to FP32 as far as FP16 cannot hold it or parity demands it, and no further."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import built_networks as networks
import numpy as np
import onnx
import pytest
from test_build_parity import silent, volumes

from engines.onnxruntime import OnnxRuntimeEngine
from tools.build_engine.parity import judge
from tools.build_engine.precision import head
from tools.build_engine.settle import MOST_IN_FP32, Settled, _fewest, settle
from tools.build_engine.volumes import Volume

HEAD = {"mean", "flat", "logit", "probability", "heatmap"}


def settled(model: onnx.ModelProto, folder: Path, *means: float, all_half: bool = False) -> Settled:
    source = networks.source(model, folder)
    return settle(source.graph, source.spec, volumes(source, *means), all_half, silent)


def test_the_head_alone_where_that_is_enough(tmp_path: Path) -> None:
    found = settled(networks.network(), tmp_path, -450, -400)
    assert set(found.fp32) == HEAD
    assert set(found.fp32.values()) == {"head and heatmap"}
    assert found.share < 0.01


def test_what_a_pointwise_operator_cannot_hold_moves_to_fp32(tmp_path: Path) -> None:
    """HU are scaled to 1e5, and scaled down again before the first convolution."""
    graph = networks.Graph()
    clipped = graph.add("Clip", "clipped", "hu", -1000.0, 200.0)
    large = graph.add("Mul", "large", clipped, 100.0)
    small = graph.add("Mul", "small", large, 1e-4)
    first = graph.add("Conv", "first", small, networks.weights(4, 1, 3, 3, 3), pads=[1] * 6)
    maps = graph.add("MaxPool", "maps", first, kernel_shape=[2] * 3, strides=[2] * 3)
    graph.add("Abs", "heatmap", graph.add("ReduceMean", "summed", maps, axes=[1], keepdims=1))
    flat = graph.add("Flatten", "flat", graph.add("GlobalAveragePool", "mean", "heatmap"))
    graph.add("Sigmoid", "probability", flat)
    found = settled(graph.model([networks.PROBABILITY, networks.HEATMAP]), tmp_path, -450, -400)
    assert {name for name, why in found.fp32.items() if "beyond 65504" in why} == {"large", "small"}
    assert not found.outcome.failed
    assert not found.outcome.beyond


def test_convolutions_that_fp16_cannot_hold_stay_and_are_told(tmp_path: Path) -> None:
    found = settled(networks.network(gain=1e5), tmp_path, -400, -100)
    assert found.share < MOST_IN_FP32
    assert found.outcome.failed
    assert "Conv constant_4" in found.outcome.beyond
    assert found.to_blame == ()


def test_parity_is_bought_where_it_costs_least(tmp_path: Path) -> None:
    """The scale of HU lies half way between two numbers of FP16, and the probability shows it."""
    source = networks.source(networks.network(slope=1000, scale=(1 + 2**-11) / 2**11), tmp_path)
    engine = OnnxRuntimeEngine(source.file)
    hu = networks.at_the_point(engine)[1] + np.float32(0.5)
    near = [Volume("near the point", True, engine.infer(hu), partial(np.copy, hu))]
    head_alone = judge(source.graph, source.spec, head(source.graph), near, silent)
    assert head_alone.failed
    found = settle(source.graph, source.spec, near, False, silent)
    bought = [name for name, why in found.fp32.items() if why == "parity demands it"]
    assert set(bought) <= {"clipped", "shifted", "scaled"}
    assert bought
    assert not found.outcome.failed


def test_parity_is_bought_from_the_end_where_that_costs_less(tmp_path: Path) -> None:
    """The last maps are raised by more than FP16 resolves, behind convolutions that cost too much."""
    graph = networks.Graph()
    scaled = graph.add("Mul", "scaled", "hu", 1e-3)
    first = graph.add("Conv", "first", scaled, networks.weights(4, 1, 3, 3, 3), pads=[1] * 6)
    pooled = graph.add("MaxPool", "pooled", first, kernel_shape=[2] * 3, strides=[2] * 3)
    raised = graph.add("Add", "raised", pooled, 20000.3)
    lit = graph.add("Conv", "lit", raised, np.full((1, 4, 1, 1, 1), 0.25, np.float32))
    graph.add("Abs", "heatmap", lit)
    flat = graph.add("Flatten", "flat", graph.add("GlobalAveragePool", "mean", lit))
    graph.add("Sigmoid", "probability", graph.add("Add", "logit", flat, -20000.0))
    found = settled(graph.model([networks.PROBABILITY, networks.HEATMAP]), tmp_path, -450, -400)
    bought = {name for name, why in found.fp32.items() if why == "parity demands it"}
    assert bought == {"raised", "lit"}
    assert not found.outcome.failed


def test_the_layers_that_cannot_be_helped_are_named(tmp_path: Path) -> None:
    """A probability as steep as this shows every rounding."""
    source = networks.source(networks.network(slope=20000), tmp_path)
    near = [
        Volume("at the point", True, OnnxRuntimeEngine(source.file).infer(hu), partial(np.copy, hu))
        for hu in networks.at_the_point(OnnxRuntimeEngine(source.file))
    ]
    found = settle(source.graph, source.spec, near, False, silent)
    assert found.outcome.failed
    layers = {told.partition(" (")[0] for told in found.to_blame}
    assert layers == {"Clip clipped", "Conv constant_4", "Conv constant_5"}
    shares = [float(told.partition("(")[2].split()[0]) for told in found.to_blame]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 100


def test_a_volume_that_the_worst_does_not_speak_for_has_its_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thin air shows how HU are rounded, and is the worst; what is dense shows the product behind."""
    monkeypatch.setattr("tools.build_engine.settle._PROBES", 1)
    graph = networks.Graph()
    shifted = graph.add("Add", "shifted", graph.add("Mul", "held", "hu", 1.0), 900.0)
    thin = graph.add("Clip", "thin", shifted, 0.0, 1.0)
    dense = graph.add("Relu", "dense", graph.add("Sub", "above", shifted, 1500.0))
    # Half way between two numbers of FP16; what is left of 1 is one of them again.
    product = graph.add("Mul", "product", dense, (0.625 + 2**-12) / 400)
    both = graph.add("Sub", "both", thin, product)
    same = np.zeros((1, 1, 3, 3, 3), np.float32)
    same[0, 0, 1, 1, 1] = 1
    maps = graph.add("Conv", "maps", both, same, pads=[1] * 6)
    graph.add("Abs", "heatmap", graph.add("MaxPool", "pooled", maps, kernel_shape=[2] * 3, strides=[2] * 3))
    mean = graph.add("Sub", "less", graph.add("GlobalAveragePool", "mean", maps), 0.375)
    graph.add("Sigmoid", "probability", graph.add("Flatten", "flat", graph.add("Mul", "logit", mean, 250.0)))
    source = networks.source(graph.model([networks.PROBABILITY, networks.HEATMAP]), tmp_path)
    engine = OnnxRuntimeEngine(source.file)
    given = [np.full(networks.SIZE, hu, np.float32) for hu in (-899.625, 1000.0)]
    both_volumes = [Volume(f"{hu.flat[0]}", True, engine.infer(hu), partial(np.copy, hu)) for hu in given]

    def bought(volumes: list[Volume]) -> set[str]:
        found = settle(source.graph, source.spec, volumes, False, silent)
        assert not found.outcome.failed
        return {name for name, why in found.fp32.items() if why == "parity demands it"}

    assert bought(both_volumes[:1]) == {"held", "shifted"}
    assert bought(both_volumes) >= {"held", "shifted", "thin", "above", "dense", "product"}


@pytest.mark.parametrize("least", [1, 2, 5, 9, 10])
def test_no_more_are_bought_than_are_needed(least: int) -> None:
    assert _fewest(10, lambda count: count >= least) == least


def test_on_turing_nothing_is_chosen(tmp_path: Path) -> None:
    found = settled(networks.network(), tmp_path, -450, all_half=True)
    assert found.fp32 == {}
