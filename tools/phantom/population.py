"""A population of phantoms, drawn from seeds: whom a CT room sees, and how they are scanned.

What looks like disease is drawn for everybody, the COVID-like patients too, so that neither the density of
the lungs nor their share of ground glass tells who is ill. docs/phantom.md gives the ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from tools.phantom.chest import Chest, Kernel, Kind
from tools.phantom.lesions import DiseaseRanges
from tools.phantom.mimics import Mimics

Group = Literal["COVID", "CAP", "oedema", "atelectasis", "nodules", "clear"]

SHARES: Final[Mapping[Group, float]] = {
    "COVID": 0.40,
    "CAP": 0.17,
    "oedema": 0.13,
    "atelectasis": 0.10,
    "nodules": 0.08,
    "clear": 0.12,
}

MILD: Final = DiseaseRanges(
    ground_glass_count=(3, 8),
    ground_glass_mm=(14, 42),
    ground_glass_hu=(-700, -420),
    ground_glass_margin_mm=(4, 9),
    ground_glass_lower=0.65,
    bilateral=0.75,
    consolidation_mm=(30, 90),
    consolidation_hu=(-80, 50),
    halo_mm=(4, 14),
    nodule_count=(0, 0),
)
"""Few and small patches of ground glass; consolidations of all sizes, with ground glass around."""

SLICES_MM: Final[Mapping[float, float]] = {1.0: 0.1, 1.25: 0.1, 2.0: 0.1, 2.5: 0.1, 3.0: 0.1, 5.0: 0.5}
"""Thickness and its share."""

SHARP: Final = 0.25
"""Share of the sharp kernel."""


@dataclass(frozen=True, slots=True)
class Person:
    """One of the population: the request for the scan, the disease's ranges, and what lies beside it."""

    group: Group
    chest: Chest
    ranges: DiseaseRanges
    mimics: Mimics

    @property
    def covid(self) -> bool:
        return self.group == "COVID"


def person(seed: int, matrix: int = 192) -> Person:
    """The person of a seed."""
    rng = np.random.default_rng((seed, 0x90B1))
    group: Group = list(SHARES)[int(rng.choice(len(SHARES), p=list(SHARES.values())))]
    kinds: Mapping[Group, Kind] = {"COVID": "covid", "CAP": "cap"}
    kernel: Kernel = "sharp" if rng.uniform() < SHARP else "soft"
    chest = Chest(
        kind=kinds.get(group, "clear"),
        seed=seed,
        slice_mm=float(rng.choice(list(SLICES_MM), p=list(SLICES_MM.values()))),
        matrix=matrix,
        fov_mm=float(rng.integers(370, 431)),
        kernel=kernel,
        noise_hu=float(rng.uniform(12, 45)),
    )
    return Person(group, chest, MILD, _beside(group, rng))


def _beside(group: Group, rng: np.random.Generator) -> Mimics:
    """What everybody may have, and what a group has more of."""
    mimics = Mimics(
        inflation_hu=float(rng.uniform(-25, 45)),
        haze_hu=float(rng.uniform(20, 90)) if rng.uniform() < 0.2 else 0.0,
        haze_central=float(rng.uniform(0.2, 0.9)),
        dependent_mm=float(rng.uniform(3, 12)) if rng.uniform() < 0.4 else 0.0,
        dependent_hu=float(rng.uniform(-720, -520)),
        bands=int(rng.integers(1, 3)) if rng.uniform() < 0.3 else 0,
        nodules=int(rng.integers(0, 5)),
        nodule_mm=(3.0, 9.0),
        motion_mm=float(rng.uniform(2, 7)) if rng.uniform() < 0.2 else 0.0,
    )
    if group == "oedema":
        mimics = replace(mimics, haze_hu=float(rng.uniform(80, 280)))
    if group == "atelectasis":
        bands, thick = int(rng.integers(2, 6)), float(rng.uniform(8, 20))
        mimics = replace(mimics, bands=bands, dependent_mm=thick, dependent_hu=float(rng.uniform(-620, -350)))
    if group == "nodules":
        mimics = replace(mimics, nodules=int(rng.integers(4, 13)), nodule_mm=(6.0, 28.0))
    return mimics
