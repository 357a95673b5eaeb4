"""The engine against the reference: the same model in FP32 on the processor, over phantoms.

The gate of `scanlight build-engine` proves range and rounding on a twin (docs/engine.md); what the device
really computes, only the device can show. The limits are the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from appliance.imaging.assess import Policy, assess
from appliance.imaging.slices import read_slice
from appliance.records import SlicePlan
from engines.protocol import Engine, EngineError, Float32
from engines.spec import ModelSpec
from tools.doctor.check import Check, failed, judged, not_done
from tools.phantom import Export, make_chest, write_series
from tools.phantom.population import person

NAME: Final = "FP16 against the CPU reference"
LARGEST_DELTA: Final = 0.01
LOWEST_CORRELATION: Final = 0.99
MATRIX: Final = 128
FIRST_SEED: Final = 700_001
"""Seeds that no training of ours has used."""

_LIMIT: Final = (
    f"no flag changed, |Δ probability| at most {LARGEST_DELTA:g}, correlation of heatmaps at least"
    f" {LOWEST_CORRELATION:g}"
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over `volumes`: the largest difference of probability, flags that differ, and the lowest correlation of
    two heatmaps, None where the model has none or none varies."""

    volumes: int
    largest_delta: float
    flags_changed: int
    lowest_correlation: float | None

    @property
    def within_limits(self) -> bool:
        # A probability that is no number compares as false.
        return (
            self.largest_delta <= LARGEST_DELTA
            and not self.flags_changed
            and (self.lowest_correlation is None or self.lowest_correlation >= LOWEST_CORRELATION)
        )


def phantoms(spec: ModelSpec, count: int, progress: Callable[[int], None]) -> Iterator[Float32]:
    """So many people of the population of `scanlight population`, from their files to the model's grid."""
    for number in range(count):
        hu = phantom(spec, number)
        progress(number + 1)
        if hu is not None:
            yield hu


def phantom(spec: ModelSpec, number: int) -> Float32 | None:
    """One of these people; None where the grid cannot hold the lungs."""
    one = person(FIRST_SEED + number, MATRIX)
    with tempfile.TemporaryDirectory(prefix="scanlight-doctor-") as folder:
        files = write_series(make_chest(one.chest, one.ranges, mimics=one.mimics), Path(folder), Export())
        slices = [read_slice(path, SlicePlan.for_grid(spec.grid)) for path in files]
    found = assess(slices, spec.grid, Policy(spec.accepted))
    return None if found.volume is None else found.volume.hu


def agreement(
    engine: Engine, reference: Engine, volumes: Iterable[Float32], operating_point: float
) -> Agreement:
    """Raises EngineError."""
    deltas: list[float] = []
    correlations: list[float] = []
    changed = 0
    for hu in volumes:
        one, other = engine.infer(hu), reference.infer(hu)
        deltas.append(abs(one.probability - other.probability))
        changed += (one.probability >= operating_point) != (other.probability >= operating_point)
        if one.heatmap is not None and other.heatmap is not None:
            correlations += _correlation(one.heatmap, other.heatmap)
    return Agreement(len(deltas), max(deltas, default=float("nan")), changed, min(correlations, default=None))


def _correlation(one: Float32, other: Float32) -> list[float]:
    """Pearson's, of two heatmaps that vary; of flat ones there is none."""
    if float(np.ptp(one)) == 0 and float(np.ptp(other)) == 0:
        return []
    if float(np.ptp(one)) == 0 or float(np.ptp(other)) == 0:
        return [0.0]
    return [float(np.corrcoef(one.ravel(), other.ravel())[0, 1])]


def parity(
    engine: Engine,
    open_reference: Callable[[], Engine],
    count: int,
    operating_point: float,
    progress: Callable[[int], None],
) -> Check:
    if engine.identity.runner == "onnxruntime":
        return not_done(NAME, "the engine is the reference itself, in FP32", _LIMIT)
    reference = open_reference()
    try:
        found = agreement(engine, reference, phantoms(engine.spec, count, progress), operating_point)
    except EngineError as error:
        return failed(NAME, str(error), _LIMIT, "have the GPU and its driver looked at")
    finally:
        reference.close()
    alike = "" if found.lowest_correlation is None else f", lowest correlation {found.lowest_correlation:.4f}"
    return judged(
        NAME,
        found.within_limits,
        f"{found.volumes} phantoms: |Δ probability| up to {found.largest_delta:.4f}, {found.flags_changed}"
        f" flags changed{alike}",
        _LIMIT,
        "do not use it: build the bundle again on this machine, and have the GPU looked at",
    )
