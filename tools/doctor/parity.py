"""The engine against the reference: the same model in FP32 on the processor, over phantoms.

The gate of `scanlight build-engine` proves range and rounding on a twin (docs/engine.md); what the device
really computes, only the device can show. Volumes and limits are of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from engines.protocol import Engine, EngineError, Float32, Score
from tools.build_engine.parity import DARK, LARGEST_DELTA, LEAST_CORRELATION, brightest, likeness
from tools.build_engine.volumes import NEAR, Progress, gather, phantoms
from tools.doctor.check import Check, failed, judged, not_done
from tools.problem import WrongInput

NAME: Final = "FP16 against the CPU reference"
FIRST_SEED: Final = 700_001
"""Seeds that no training of ours has used."""

_LIMIT: Final = (
    f"no flag changed, |Δ probability| at most {LARGEST_DELTA:g}, correlation of heatmaps at least"
    f" {LEAST_CORRELATION:g}"
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
            and (self.lowest_correlation is None or self.lowest_correlation >= LEAST_CORRELATION)
        )


def agreement(
    engine: Engine, reference: Engine, volumes: Iterable[Float32], operating_point: float
) -> Agreement:
    """Raises EngineError."""
    return compared(engine, ((reference.infer(hu), hu) for hu in volumes), operating_point)


def compared(engine: Engine, volumes: Iterable[tuple[Score, Float32]], operating_point: float) -> Agreement:
    """With what the reference says of each volume. Raises EngineError."""
    deltas: list[float] = []
    heatmaps: list[tuple[Float32, Float32]] = []
    changed = 0
    for expected, hu in volumes:
        found = engine.infer(hu)
        deltas.append(abs(found.probability - expected.probability))
        changed += (found.probability >= operating_point) != (expected.probability >= operating_point)
        if found.heatmap is not None and expected.heatmap is not None:
            heatmaps.append((found.heatmap, expected.heatmap))
    dark = DARK * max((brightest(expected) for _, expected in heatmaps), default=0.0)
    alike = [likeness(found, expected, dark) for found, expected in heatmaps]
    known = [one for one in alike if one is not None]
    return Agreement(
        len(deltas),
        float(np.max(deltas, initial=0.0)) if deltas else float("nan"),
        changed,
        float(np.min(known)) if known else None,
    )


def parity(
    engine: Engine,
    open_reference: Callable[[], Engine],
    count: int,
    operating_point: float,
    progress: Progress,
) -> Check:
    """Over so many phantoms, blends of them near the operating point, and what no chest is."""
    if engine.identity.runner == "onnxruntime":
        return not_done(
            NAME,
            "the engine is the reference itself, in FP32",
            _LIMIT,
            "nothing: only a GPU needs the comparison",
        )
    reference = open_reference()
    try:
        chests = phantoms(engine.spec.grid, progress, count, FIRST_SEED)
        trained = engine.spec.intended_use != "placeholder"
        volumes = gather(reference, chests, trained, progress)
        found = compared(engine, ((one.reference, one.hu()) for one in volumes), operating_point)
    except WrongInput as error:
        return failed(NAME, str(error), _LIMIT, "correct the grid: it must hold a chest")
    except EngineError as error:
        return failed(NAME, str(error), _LIMIT, "have the GPU and its driver looked at")
    finally:
        reference.close()
    alike = "" if found.lowest_correlation is None else f", lowest correlation {found.lowest_correlation:.4f}"
    near = sum(one.near for one in volumes)
    if trained and near < NEAR:
        return failed(
            NAME,
            f"{near} volumes near the operating point could be made of {len(chests)} phantoms, where rounding"
            " would change a flag",
            f"{NEAR} such volumes, and then: {_LIMIT}",
            "have it make more phantoms with --phantoms, or judge it by the site's own --cases",
        )
    return judged(
        NAME,
        found.within_limits,
        f"{found.volumes} volumes, {len(chests)} of them phantoms, {near} near the operating point: |Δ"
        f" probability| up to {found.largest_delta:.4f}, {found.flags_changed} flags changed{alike}",
        _LIMIT,
        "do not use it: build the bundle again on this machine, and have the GPU looked at",
    )
