"""The parity gate: what FP16 may change, volume by volume, before there is a plan."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx

from engines.bundle import ParityInfo
from engines.protocol import Float32
from engines.spec import ModelSpec
from tools.build_engine.graph import float_constants, key, layers
from tools.build_engine.precision import LARGEST, halves
from tools.build_engine.twin import Twin, TwinReading
from tools.build_engine.volumes import FEWEST, NEAR, Progress, Volume

LARGEST_DELTA: Final = 0.01
"""In probability."""

LEAST_CORRELATION: Final = 0.99
"""Of the heatmap's cells, Pearson's."""

DARK: Final = 1e-3
"""Of the brightest cell of all volumes: where no cell is brighter there is nothing to correlate."""


@dataclass(frozen=True, slots=True)
class Row:
    """One volume in FP32 and on the twin. `problem` says what the gate does not let pass, or is ""."""

    volume: str
    near: bool
    fp32: float
    fp16: float
    correlation: float | None
    problem: str

    @property
    def delta(self) -> float:
        return abs(self.fp16 - self.fp32)

    @property
    def excess(self) -> float:
        """The larger of both differences, of probability and of heatmap, in parts of what is allowed;
        infinite where a number is missing."""
        unlike = 0.0 if self.correlation is None else (1 - self.correlation) / (1 - LEAST_CORRELATION)
        excess = max(self.delta / LARGEST_DELTA, unlike)
        return math.inf if math.isnan(self.delta) else excess


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the gate found. `largest` is the largest |activation| of each tensor over all volumes, `half`
    names those that are FP16 in the plan, and `layers` says where each comes from."""

    rows: tuple[Row, ...]
    largest: Mapping[str, float] = field(repr=False)
    half: frozenset[str] = field(repr=False)
    layers: Mapping[str, str] = field(repr=False)
    trained: bool

    @property
    def failed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.problem)

    @property
    def beyond(self) -> tuple[str, ...]:
        """The layers whose FP16 tensors hold what FP16 cannot."""
        names = (name for name in self.largest if name in self.half and _beyond(self.largest[name]))
        return tuple(dict.fromkeys(self.layers[name] for name in names))

    @property
    def problem(self) -> str:
        """Why there is no bundle, in words; "" where the gate is passed."""
        near = sum(row.near for row in self.rows)
        found = []
        if self.failed:
            worst = sorted(self.failed, key=lambda row: -row.excess)
            told = "; ".join(f"{row.volume}: {row.problem}" for row in worst[:3])
            more = f"; and {len(worst) - 3} more" if len(worst) > 3 else ""
            found.append(f"{len(worst)} of {len(self.rows)} volumes differ in FP16 ({told}{more})")
        if self.beyond:
            names = _listed(self.beyond)
            found.append(f"layers hold more than the largest number of FP16, {LARGEST:.0f} ({names})")
        if len(self.rows) < FEWEST or (self.trained and near < NEAR):
            found.append(
                f"the gate takes {FEWEST} volumes, {NEAR} of them with a probability near the operating"
                f" point, and could make {len(self.rows)} and {near}"
            )
        return "; ".join(found)

    def info(self) -> ParityInfo:
        """For the manifest of a bundle; the gate is passed."""
        correlations = [row.correlation for row in self.rows if row.correlation is not None]
        return ParityInfo(
            volumes=len(self.rows),
            near=sum(row.near for row in self.rows),
            largest_delta=max(row.delta for row in self.rows),
            lowest_correlation=min(correlations, default=None),
            trained=self.trained,
        )


def judge(
    model: onnx.ModelProto,
    spec: ModelSpec,
    fp32: frozenset[str],
    volumes: Sequence[Volume],
    progress: Progress,
) -> Outcome:
    """Read every volume on the twin whose nodes are in FP16 but for those of `fp32`."""
    twin = Twin(model, spec, fp32)
    trained = spec.intended_use != "placeholder"
    bright = max((brightest(one.reference.heatmap) for one in volumes), default=0.0)
    rows, largest = [], dict.fromkeys(twin.measured, 0.0)
    for number, volume in enumerate(volumes, 1):
        reading = twin.read(volume.hu())
        rows.append(_row(volume, reading, spec.operating_point, trained, DARK * bright))
        # max() would lose what is not a number.
        largest = {name: float(np.maximum(largest[name], value)) for name, value in reading.largest.items()}
        progress("rounding twin", number, len(volumes))
    return Outcome(tuple(rows), largest, touched(model, halves(model, fp32)), layers(model), trained)


def touched(model: onnx.ModelProto, nodes: Iterable[str]) -> frozenset[str]:
    """The activations that these nodes read or write."""
    wanted, constants = set(nodes), float_constants(model)
    return frozenset(
        name
        for node in model.graph.node
        if key(node) in wanted
        for name in (*node.input, *node.output)
        if name not in constants
    )


def out_of_range(model: onnx.ModelProto, largest: Mapping[str, float]) -> dict[str, str]:
    """The nodes that read or write what FP16 cannot hold, by name, with the reason."""
    found = {}
    for node in model.graph.node:
        beyond = [name for name in (*node.input, *node.output) if _beyond(largest.get(name, 0.0))]
        if beyond:
            worst = max(largest[name] for name in beyond)
            found[key(node)] = f"it reads or writes {worst:.3g}, beyond {LARGEST:.0f}"
    return found


def _beyond(value: float) -> bool:
    return not value <= LARGEST


def _row(volume: Volume, reading: TwinReading, point: float, trained: bool, dark: float) -> Row:
    before, after = volume.reference.probability, reading.probability
    correlation = None
    if not reading.problem and volume.reference.heatmap is not None and reading.heatmap is not None:
        correlation = likeness(volume.reference.heatmap, reading.heatmap, dark)
    problems = []
    if reading.problem:
        what, _, _ = reading.problem.rpartition(": ")
        problems.append(what)
    elif abs(after - before) > LARGEST_DELTA:
        problems.append(f"the probability is {after:.4f}, not {before:.4f}")
    if trained and not reading.problem:
        if (after >= point) != (before >= point):
            problems.append("the flag changes")
        if correlation is not None and correlation < LEAST_CORRELATION:
            problems.append(f"the heatmap correlates by {correlation:.3f}")
    return Row(volume.name, volume.near, before, after, correlation, ", ".join(problems))


def likeness(one: Float32, other: Float32, dark: float) -> float | None:
    """Pearson's over the cells; None where neither map is brighter than `dark`."""
    if max(brightest(one), brightest(other)) <= dark:
        return None
    first, second = (
        cells.ravel().astype(np.float64) - cells.mean(dtype=np.float64) for cells in (one, other)
    )
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / scale if scale else float(np.array_equal(one, other))


def brightest(cells: Float32 | None) -> float:
    return 0.0 if cells is None else float(cells.max())


def _listed(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
