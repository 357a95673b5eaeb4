"""Disease: what is drawn for each kind, and its shape in a slab."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tools.phantom.anatomy import Anatomy
from tools.phantom.chest import Bool, Chest, Field, Side

Range = tuple[float, float]
Lobe = Literal["upper", "middle", "lower"]


@dataclass(frozen=True)
class DiseaseRanges:
    """From what the disease is drawn, evenly within each range. Diameters in mm, densities in HU.

    Mild COVID-19: ground glass at the pleura. CAP: consolidation of a segment. Clear: small nodules only.
    """

    ground_glass_count: tuple[int, int] = (5, 9)
    ground_glass_mm: Range = (15, 45)
    ground_glass_hu: Range = (-700, -400)
    ground_glass_margin_mm: Range = (4, 8)
    ground_glass_lower: float = 0.75
    """Share of the patches in the lower lobes."""
    bilateral: float = 0.8
    """Share of the COVID-like patients with disease on both sides."""
    consolidation_mm: Range = (60, 95)
    consolidation_hu: Range = (-50, 50)
    consolidation_margin_mm: Range = (2, 5)
    halo_mm: Range = (0, 0)
    """Ground glass around a consolidation, of the densities of ground glass."""
    consolidation_second: float = 0.25
    """Share of the CAP-like patients with a second, smaller consolidation in the same lung."""
    nodule_count: tuple[int, int] = (2, 5)
    nodule_mm: Range = (3, 8)
    nodule_hu: Range = (-100, 60)


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid with a rough, soft margin, inside of one lung and, with `lobe`, of one lobe.

    `centre` (x, y, z) and `radii` in mm, `axes` the directions of the radii as rows, `hu` its density,
    `unevenness` its standard deviation, `margin_mm` how wide its edge is, `roughness` how far the edge
    wanders as a share of the radius.
    """

    side: Side
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    axes: tuple[tuple[float, float, float], ...]
    hu: float
    unevenness: float
    margin_mm: float
    roughness: float
    lobe: Lobe | None = None

    @property
    def reach_mm(self) -> float:
        """No part of the lesion is further than this from its centre."""
        return max(self.radii) * (1 + 2.5 * self.roughness) + self.margin_mm

    def presence(self, x: Field, y: Field, z: float, rough: Field) -> Field:
        """0 outside to 1 inside, 0.5 at the edge; `rough` is a unit random field at these points."""
        offset = (x - self.centre[0], y - self.centre[1], z - self.centre[2])
        rho2: Field = np.zeros((1, 1), np.float32)
        for (dx, dy, dz), radius in zip(self.axes, self.radii, strict=True):
            rho2 = rho2 + (dx / radius * offset[0] + dy / radius * offset[1] + dz / radius * offset[2]) ** 2
        rho = np.sqrt(rho2) + self.roughness * np.clip(rough, -2.5, 2.5)
        t = np.clip((1 - rho) * (min(self.radii) / self.margin_mm) + 0.5, 0, 1)
        presence: Field = t * t * (3 - 2 * t)
        return presence


def lobe_depth(anatomy: Anatomy, side: Side, lobe: Lobe, y: Field, z: Field | float) -> Field:
    """Distance in mm to the fissures that bound a lobe, positive inside."""
    lower = anatomy.lower_lobe_depth(y, z)
    if lobe == "lower":
        return lower
    if side == "left":
        return -lower
    middle = anatomy.middle_lobe_depth(y, z)
    return np.minimum(-lower, middle if lobe == "middle" else -middle)


def _axes(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return tuple((float(a), float(b), float(c)) for a, b, c in q)


def points_in(anatomy: Anatomy, side: Side, rng: np.random.Generator) -> tuple[Field, Field]:
    """Random points of one lung [n, 3], and how deep they lie under the costal pleura [n]."""
    sign = 1 if side == "left" else -1
    points = np.stack(
        [
            sign * rng.uniform(0, anatomy.half_width, 6000),
            rng.uniform(-anatomy.half_depth, anatomy.half_depth, 6000),
            rng.uniform(0, anatomy.extent_mm, 6000),
        ],
        axis=1,
    ).astype(np.float32)
    x, y, z = points.T
    inside = anatomy.lung_depth(x, y, z) > 3
    points = points[inside]
    return points, anatomy.cavity_depth(*points.T)


def pick(points: Field, wanted: Bool, rng: np.random.Generator) -> tuple[float, float, float]:
    chosen = points[wanted] if wanted.any() else points
    x, y, z = chosen[rng.integers(len(chosen))]
    return float(x), float(y), float(z)


def _ground_glass(
    anatomy: Anatomy, sides: list[Side], ranges: DiseaseRanges, rng: np.random.Generator
) -> list[Lesion]:
    lesions = []
    for number in range(int(rng.integers(ranges.ground_glass_count[0], ranges.ground_glass_count[1] + 1))):
        side = sides[number % len(sides)]
        points, depth = points_in(anatomy, side, rng)
        diameter = rng.uniform(*ranges.ground_glass_mm)
        lower = anatomy.lower_lobe_depth(points[:, 1], points[:, 2]) > 0
        at_pleura = (depth > 0.1 * diameter) & (depth < 0.3 * diameter)
        in_lobe = lower if rng.uniform() < ranges.ground_glass_lower else ~lower
        flat = rng.uniform(0.65, 0.9)
        lesions.append(
            Lesion(
                side,
                pick(points, at_pleura & in_lobe, rng),
                (diameter / 2, diameter / 2 * rng.uniform(0.8, 1), diameter / 2 * flat),
                _axes(rng),
                float(rng.uniform(*ranges.ground_glass_hu)),
                70.0,
                float(rng.uniform(*ranges.ground_glass_margin_mm)),
                0.25,
            )
        )
    return lesions


def _consolidation(
    anatomy: Anatomy, side: Side, ranges: DiseaseRanges, rng: np.random.Generator
) -> list[Lesion]:
    points, depth = points_in(anatomy, side, rng)
    lobes: tuple[Lobe, ...] = ("lower", "upper") if side == "left" else ("lower", "upper", "middle")
    lesions = []
    for share in (1.0, 0.55)[: 2 if rng.uniform() < ranges.consolidation_second else 1]:
        lobe = lobes[int(rng.choice(len(lobes), p=(0.6, 0.4) if side == "left" else (0.5, 0.3, 0.2)))]
        inside = lobe_depth(anatomy, side, lobe, points[:, 1], points[:, 2]) > 8
        diameter = rng.uniform(*ranges.consolidation_mm) * share
        core = Lesion(
            side,
            pick(points, inside & (depth > 8) & (depth < 40), rng),
            (diameter / 2, diameter / 2 * rng.uniform(0.75, 1), diameter / 2 * rng.uniform(0.75, 1)),
            _axes(rng),
            float(rng.uniform(*ranges.consolidation_hu)),
            25.0,
            float(rng.uniform(*ranges.consolidation_margin_mm)),
            0.10,
            lobe,
        )
        if ranges.halo_mm[1]:
            lesions.append(_halo(core, ranges, rng))
        lesions.append(core)
    return lesions


def _halo(core: Lesion, ranges: DiseaseRanges, rng: np.random.Generator) -> Lesion:
    width = float(rng.uniform(*ranges.halo_mm))
    first, second, third = (radius + width for radius in core.radii)
    return replace(
        core,
        radii=(first, second, third),
        hu=float(rng.uniform(*ranges.ground_glass_hu)),
        unevenness=70.0,
        margin_mm=float(rng.uniform(*ranges.ground_glass_margin_mm)),
        roughness=0.2,
    )


def nodules(
    anatomy: Anatomy,
    sides: list[Side],
    count: tuple[int, int],
    diameter_mm: Range,
    hu: Range,
    rng: np.random.Generator,
) -> list[Lesion]:
    """Solid spheres away from the pleura."""
    lesions = []
    for _ in range(int(rng.integers(count[0], count[1] + 1))):
        side = sides[int(rng.integers(len(sides)))]
        points, depth = points_in(anatomy, side, rng)
        radius = rng.uniform(*diameter_mm) / 2
        lesions.append(
            Lesion(
                side,
                pick(points, (depth > 6) & (depth < 45), rng),
                (radius, radius, radius),
                _axes(rng),
                float(rng.uniform(*hu)),
                10.0,
                0.8,
                0.05,
            )
        )
    return lesions


def draw(chest: Chest, anatomy: Anatomy, ranges: DiseaseRanges, rng: np.random.Generator) -> list[Lesion]:
    """The lesions of one patient."""
    first: Side = "left" if rng.integers(2) else "right"
    second: Side = "right" if first == "left" else "left"
    both = rng.uniform() < ranges.bilateral
    if chest.kind == "covid":
        sides = [chest.side] if chest.side else [first, second] if both else [first]
        return _ground_glass(anatomy, sides, ranges, rng)
    if chest.kind == "cap":
        return _consolidation(anatomy, chest.side or first, ranges, rng)
    sides = [chest.side] if chest.side else [first, second]
    return nodules(anatomy, sides, ranges.nodule_count, ranges.nodule_mm, ranges.nodule_hu, rng)
