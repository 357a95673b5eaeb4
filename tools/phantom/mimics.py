"""What looks like disease and is another thing: haze, dependent lung, bands, nodules, motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.phantom.anatomy import Anatomy
from tools.phantom.chest import Field, Side
from tools.phantom.grid import Grid
from tools.phantom.lesions import Lesion, nodules, pick, points_in
from tools.phantom.section import Section


@dataclass(frozen=True)
class Mimics:
    """None of it by default. Densities in HU, lengths in mm.

    `inflation_hu` shifts all lung, as a shallower breath does. `haze_hu` is what an oedema-like haze adds
    where it is densest: around the hila for the part `haze_central`, towards the back for the rest.
    `dependent_mm` is the thickness of denser lung, of `dependent_hu`, on the pleura behind. `bands` are
    plates of collapsed lung near the diaphragm, `nodules` are solid, of `nodule_mm`. `motion_mm` is how far
    the slices around heart and diaphragm are smeared from front to back.
    """

    inflation_hu: float = 0.0
    haze_hu: float = 0.0
    haze_central: float = 0.5
    dependent_mm: float = 0.0
    dependent_hu: float = -650.0
    bands: int = 0
    nodules: int = 0
    nodule_mm: tuple[float, float] = (5.0, 25.0)
    motion_mm: float = 0.0


def draw_mimics(mimics: Mimics, anatomy: Anatomy, rng: np.random.Generator) -> list[Lesion]:
    """The bands and nodules, anywhere in both lungs."""
    lesions = nodules(
        anatomy, ["left", "right"], (mimics.nodules, mimics.nodules), mimics.nodule_mm, (-100, 60), rng
    )
    for _ in range(mimics.bands):
        side: Side = "left" if rng.integers(2) else "right"
        points, depth = points_in(anatomy, side, rng)
        low = anatomy.lower_lobe_depth(points[:, 1], points[:, 2]) > 0
        near_pleura = (depth > 3) & (depth < 18)
        angle = rng.uniform(-0.5, 0.5)
        length, width, thickness = rng.uniform(14, 35), rng.uniform(8, 22), rng.uniform(1.5, 3.5)
        lesions.append(
            Lesion(
                side,
                pick(points, low & near_pleura, rng),
                (length, width, thickness),
                (
                    (float(np.cos(angle)), 0.0, float(np.sin(angle))),
                    (0.0, 1.0, 0.0),
                    (-float(np.sin(angle)), 0.0, float(np.cos(angle))),
                ),
                float(rng.uniform(-350, 0)),
                40.0,
                2.0,
                0.15,
            )
        )
    return lesions


def add_haze(parenchyma: Field, mimics: Mimics, anatomy: Anatomy, section: Section, coarse: Field) -> None:
    """Adds the haze and the dependent lung of a slab, in place; `coarse` is a unit random field."""
    x, y, z = section.x, section.y, section.z
    parenchyma += mimics.inflation_hu
    behind = np.clip(y / anatomy.half_depth * 0.5 + 0.5, 0, 1)
    if mimics.haze_hu:
        near = np.zeros_like(parenchyma)
        for side in ("left", "right"):
            hx, hy, hz = anatomy.hilum(side)
            distance2 = (x - hx) ** 2 + (y - hy) ** 2 + (z - hz) ** 2
            np.maximum(near, np.exp(-distance2 / 65.0**2), out=near)
        density = mimics.haze_central * near + (1 - mimics.haze_central) * behind**2
        parenchyma += mimics.haze_hu * density * np.clip(1 + 0.35 * coarse, 0, 2)
    if mimics.dependent_mm:
        thickness = (
            mimics.dependent_mm * np.clip((behind - 0.62) / 0.25, 0, 1) * np.clip(1.1 - section.level, 0, 1)
        )
        presence = np.clip((thickness * (1 + 0.3 * coarse) - section.cavity) / 4.0, 0, 1)
        parenchyma += presence * np.maximum(mimics.dependent_hu - parenchyma, 0)


def smeared(hu: Field, grid: Grid, anatomy: Anatomy, motion_mm: float, z: float) -> Field:
    """A slab [samples, samples] of a patient who moved: two positions at once, less so towards the apex."""
    share = float(np.clip(1.2 - 1.6 * anatomy.level(z), 0, 1)) * 0.5
    shift = round(motion_mm / grid.sample_mm)
    if not share or not shift:
        return hu
    moved: Field = (1 - share) * hu + share * np.roll(hu, shift, axis=0)
    return moved
