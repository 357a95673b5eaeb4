"""The gate lets through what FP16 does not change, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import built_networks as networks
import numpy as np
import onnx
import pytest

from engines.onnxruntime import OnnxRuntimeEngine
from engines.spec import ModelSpec
from tools.build_engine.parity import Outcome, Row, judge, out_of_range
from tools.build_engine.precision import head
from tools.build_engine.source import Source
from tools.build_engine.volumes import Volume


def silent(what: str, done: int, total: int) -> None:
    """Tests have no terminal."""


def volumes(source: Source, *means: float) -> list[Volume]:
    engine = OnnxRuntimeEngine(source.file)
    made = [networks.chest(mean) for mean in means]
    return [
        Volume(f"mean {mean:g}", True, engine.infer(hu), partial(np.copy, hu))
        for mean, hu in zip(means, made, strict=True)
    ]


def judged(model: onnx.ModelProto, folder: Path, *means: float, spec: ModelSpec | None = None) -> Outcome:
    source = networks.source(model, folder)
    return judge(source.graph, spec or source.spec, head(source.graph), volumes(source, *means), silent)


def test_a_network_of_moderate_numbers_passes(tmp_path: Path) -> None:
    outcome = judged(networks.network(), tmp_path, -500, -400, -300)
    assert [row.problem for row in outcome.rows] == ["", "", ""]
    assert not outcome.beyond
    assert 0 < max(row.delta for row in outcome.rows) < 0.01
    assert min(row.correlation for row in outcome.rows) > 0.99
    assert {"hu", "first", "maps"} <= outcome.half
    assert not {"mean", "logit", "probability", "heatmap"} & outcome.half


def test_what_is_not_finite(tmp_path: Path) -> None:
    outcome = judged(networks.network(gain=2e5), tmp_path, -400, -100)
    assert all("not finite" in row.problem for row in outcome.rows)
    assert outcome.beyond[:3] == ("Conv constant_4", "Relu first_relu", "MaxPool pooled")
    assert "2 of 2 volumes differ in FP16" in outcome.problem
    assert "layers hold more than the largest number of FP16, 65504 (Conv constant_4, " in outcome.problem


def test_a_probability_that_moves_and_a_flag_that_changes(tmp_path: Path) -> None:
    """Rounding moves both volumes the same way, and one of them across the operating point."""
    source = networks.source(networks.network(slope=20000), tmp_path)
    engine = OnnxRuntimeEngine(source.file)
    pair = [
        Volume("at the point", True, engine.infer(hu), partial(np.copy, hu))
        for hu in networks.at_the_point(engine)
    ]
    rows = judge(source.graph, source.spec, head(source.graph), pair, silent).rows
    assert all(row.delta > 0.01 and "the probability is" in row.problem for row in rows)
    assert sorted("the flag changes" in row.problem for row in rows) == [False, True]


@pytest.fixture
def passing() -> Outcome:
    rows = tuple(Row(f"volume {n}", n < 20, 0.4, 0.401, 0.999, "") for n in range(50))
    return Outcome(rows, {"maps": 100.0}, frozenset(["maps"]), {"maps": "Relu maps"}, trained=True)


def test_a_full_gate_passes(passing: Outcome) -> None:
    assert passing.problem == ""
    info = passing.info()
    assert (info.volumes, info.near, info.trained) == (50, 20, True)
    assert info.largest_delta == pytest.approx(0.001)
    assert info.lowest_correlation == 0.999


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: replace(one, rows=one.rows[1:]), "takes 50 volumes, 20 of them"),
        (lambda one: replace(one, rows=(*one.rows[1:], one.rows[-1])), "and could make 50 and 19"),
        (lambda one: replace(one, largest={"maps": 65505.0}), "layers hold more than"),
        (lambda one: replace(one, largest={"maps": math.nan}), "65504 (Relu maps)"),
        (
            lambda one: replace(one, rows=(*one.rows, replace(one.rows[0], problem="the flag changes"))),
            "1 of 51 volumes differ in FP16 (volume 0: the flag changes)",
        ),
    ],
)
def test_what_keeps_it_shut(passing: Outcome, change: Callable[[Outcome], Outcome], words: str) -> None:
    assert words in change(passing).problem


def test_a_placeholder_needs_none_near(passing: Outcome) -> None:
    far = tuple(replace(row, near=False) for row in passing.rows)
    assert replace(passing, rows=far, trained=False).problem == ""
    assert replace(passing, rows=far).problem != ""


def turned_map(*, trained: bool, folder: Path) -> Row:
    """A network whose heatmap is the rounding error alone: FP16 makes another one of it."""
    graph = networks.Graph()
    rough = graph.add("Conv", "rough", "hu", networks.weights(1, 1, 1, 1, 1))
    weak = graph.add("Mul", "weak", rough, 0.1)
    lost = graph.add("Add", "lost", graph.add("Add", "raised", weak, 30000.0), -30000.0)
    pooled = graph.add("MaxPool", "maps", lost, kernel_shape=[2] * 3, strides=[2] * 3)
    graph.add("Abs", "heatmap", pooled)
    graph.add("Flatten", "flat", graph.add("GlobalAveragePool", "mean", pooled))
    graph.add("Sigmoid", "probability", graph.add("Mul", "gentle", "flat", 1e-4))
    use = "research" if trained else "placeholder"
    spec = networks.SPEC.model_copy(update={"intended_use": use})
    return judged(graph.model([networks.PROBABILITY, networks.HEATMAP], spec=spec), folder, 0).rows[0]


def test_a_heatmap_that_is_another_one(tmp_path: Path) -> None:
    row = turned_map(trained=True, folder=tmp_path)
    assert row.delta < 0.01
    assert row.correlation < 0.99
    assert row.problem == f"the heatmap correlates by {row.correlation:.3f}"


def test_a_placeholders_heatmap_may_be_another_one(tmp_path: Path) -> None:
    assert turned_map(trained=False, folder=tmp_path).problem == ""


def test_a_heatmap_that_turns_negative_is_told_as_that(tmp_path: Path) -> None:
    """Two constants that are 1.5 apart are 16 apart in FP16."""
    graph = networks.Graph()
    maps = graph.add("MaxPool", "maps", "hu", kernel_shape=[2] * 3, strides=[2] * 3)
    gentle = graph.add("Add", "gentle", graph.add("Mul", "weak", maps, 1e-4), 2.0)
    raised = graph.add("Add", "raised", gentle, 30007.0)
    lowered = graph.add("Add", "lowered", raised, -30008.5)
    graph.add("Conv", "heatmap", lowered, networks.weights(1, 1, 1, 1, 1))
    flat = graph.add("Flatten", "flat", graph.add("GlobalAveragePool", "mean", "heatmap"))
    graph.add("Sigmoid", "probability", graph.add("Mul", "flatter", flat, 1e-4))
    row = judged(graph.model([networks.PROBABILITY, networks.HEATMAP]), tmp_path, -400).rows[0]
    assert row.problem == "model small gave a heatmap with negative values"
    assert math.isinf(row.excess)


def test_what_differs_most_is_told_first(passing: Outcome) -> None:
    """In parts of what is allowed: 0.01 of probability, and 0.99 of correlation."""
    rows = [
        replace(passing.rows[0], volume="dull", fp16=0.42, problem="p"),
        replace(passing.rows[0], volume="turned", correlation=0.9, problem="h"),
        replace(passing.rows[0], volume="lost", fp16=math.nan, correlation=None, problem="n"),
    ]
    assert [round(row.excess, 6) for row in rows] == [2.0, 10.0, math.inf]
    assert "(lost: n; turned: h; dull: p)" in replace(passing, rows=tuple(rows)).problem


def test_dark_heatmaps_are_not_compared(tmp_path: Path) -> None:
    outcome = judged(networks.network(), tmp_path, -400, -5000)
    assert [row.correlation is None for row in outcome.rows] == [False, True]
    assert outcome.rows[1].problem == ""


def test_operators_beyond_the_range(tmp_path: Path) -> None:
    graph = networks.source(networks.network(gain=1e5), tmp_path).graph
    found = out_of_range(graph, {"first": 8e4, "first_relu": 8e4, "pooled": 7e4, "second": 1.0})
    assert list(found) == ["first", "first_relu", "pooled", "second"]
    assert found["first"] == "it reads or writes 8e+04, beyond 65504"
