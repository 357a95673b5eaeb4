"""The patient's shape: surfaces in millimetres, drawn from a seed.

Coordinates are the patient's (LPS directions): x to the left, y to posterior, z to the head, with x = y = 0
on the body's axis and z = 0 at the inferior edge of the scan. Every surface is a function of x, y and z that
broadcasts, positive inside, in mm to a good approximation near zero: the same functions give the voxels and
tell where vessels and lesions may grow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from tools.phantom.chest import Field, Side

MARGIN_MM = 15.0
"""Least distance between the lungs and either end of the scan."""

# Thoracic cavity from the deepest recess of the lung (0) to its apex (1), as fractions of its largest size.
_LEVEL = (-0.3, 0.0, 0.25, 0.5, 0.7, 0.85, 1.0, 1.3)
_WIDTH = PchipInterpolator(_LEVEL, (0.95, 0.97, 1.0, 0.97, 0.87, 0.74, 0.58, 0.50))
_DEPTH = PchipInterpolator(_LEVEL, (0.95, 0.97, 1.0, 0.97, 0.88, 0.74, 0.58, 0.50))
_SHIFT = PchipInterpolator(_LEVEL, (0.0, 0.0, 0.0, 0.02, 0.07, 0.15, 0.24, 0.30))

# Half the width in mm of the mediastinum between the lungs, from sternum (-1) to spine (1).
_COLUMN_AT = (-1.3, -0.95, -0.6, -0.2, 0.2, 0.5, 0.8, 1.3)
_COLUMN = (3.0, 4.0, 11.0, 25.0, 28.0, 25.0, 20.0, 20.0)
_INLET = (24.0, 26.0, 30.0, 32.0, 30.0, 26.0, 22.0, 20.0)


def squircle_depth(x: Field, y: Field, half_width: Field | float, half_depth: Field | float) -> Field:
    """Distance along the ray from the centre to a Fernandez-Guasti squircle, positive inside."""
    across, along = (x / half_width) ** 2, (y / half_depth) ** 2
    total = across + along
    radius2 = 0.5 * (total + np.sqrt(np.maximum(total * total - (4 * 0.72**2) * (across * along), 0)))
    depth: Field = np.sqrt(x * x + y * y + 1e-4) * (1 / np.sqrt(radius2 + 1e-9) - 1)
    return depth


def ellipsoid_depth(
    x: Field,
    y: Field,
    z: Field | float,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> Field:
    """Approximate distance to an ellipsoid, positive inside."""
    rho2 = (
        ((x - centre[0]) / radii[0]) ** 2
        + ((y - centre[1]) / radii[1]) ** 2
        + ((z - centre[2]) / radii[2]) ** 2
    )
    depth: Field = (1 - np.sqrt(rho2)) * min(radii)
    return depth


def _union(one: Field, other: Field, blend_mm: float) -> Field:
    """The union of two surfaces with a rounded crease."""
    near = np.maximum(blend_mm - np.abs(one - other), 0)
    return np.maximum(one, other) + near * near / (4 * blend_mm)


def capsule_distance(x: Field, y: Field, start: tuple[float, float], end: tuple[float, float]) -> Field:
    """Distance in plane to a straight piece between two points."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length2 = along_x**2 + along_y**2
    t = np.clip(((x - start[0]) * along_x + (y - start[1]) * along_y) / length2, 0, 1)
    distance: Field = np.hypot(x - start[0] - t * along_x, y - start[1] - t * along_y)
    return distance


@dataclass(frozen=True)
class Anatomy:
    """One patient's sizes in mm; `half_width` and `half_depth` are of the thoracic cavity."""

    female: bool
    half_width: float
    half_depth: float
    lung_height: float
    right_dome: float
    left_dome: float
    fat: float
    lateral_wall: float
    anterior_wall: float
    posterior_wall: float
    heart: float
    rib_spacing: float
    rib_phase: float
    sway: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Anatomy:
        """A patient whose lungs hold 3.2 to 4.8 l together."""
        female = bool(rng.integers(2))
        litres = rng.uniform(3.2, 4.0) if female else rng.uniform(3.7, 4.8)
        fat = float(rng.uniform(8, 20) + 4 * female)
        shape = cls(
            female=female,
            half_width=float(rng.uniform(126, 136)),
            half_depth=float(rng.uniform(82, 92)),
            lung_height=float(rng.uniform(225, 250)),
            right_dome=float(rng.uniform(0.34, 0.42)),
            left_dome=float(rng.uniform(0.28, 0.34)),
            fat=fat,
            lateral_wall=float(19 + fat + rng.uniform(0, 6)),
            anterior_wall=float(15 + 0.7 * fat),
            posterior_wall=float(38 + 0.5 * fat),
            heart=float(rng.uniform(0.92, 1.06)),
            rib_spacing=float(rng.uniform(23, 27)),
            rib_phase=float(rng.uniform(0, 1)),
            sway=float(rng.uniform(-3, 3)),
        )
        for _ in range(3):
            shape = shape.scaled((litres / shape.lung_litres()) ** (1 / 3))
        return shape

    def scaled(self, factor: float) -> Anatomy:
        return replace(
            self,
            half_width=self.half_width * factor,
            half_depth=self.half_depth * factor,
            lung_height=self.lung_height * factor,
        )

    @property
    def unit(self) -> float:
        """Size of this thorax against one with a half width of 130 mm."""
        return self.half_width / 130.0

    @property
    def apex(self) -> float:
        return MARGIN_MM + self.lung_height

    @property
    def extent_mm(self) -> float:
        """Length of the scan: a whole multiple of 5 mm."""
        return float(5 * np.ceil((self.apex + MARGIN_MM) / 5))

    def level(self, z: Field | float) -> Field | float:
        """Height within the lungs: 0 at the deepest recess, 1 at the apex."""
        return (z - MARGIN_MM) / self.lung_height

    def z(self, level: float) -> float:
        return MARGIN_MM + level * self.lung_height

    def cavity(self, z: Field | float) -> tuple[Field, Field, Field]:
        """Half width, half depth and the centre's y of the thoracic cavity at z."""
        level = self.level(z)
        return (
            (self.half_width * _WIDTH(level)).astype(np.float32),
            (self.half_depth * _DEPTH(level)).astype(np.float32),
            (self.half_depth * _SHIFT(level)).astype(np.float32),
        )

    def spine_y(self, z: Field | float) -> Field:
        """y of the centre of the vertebral bodies."""
        _, half_depth, centre = self.cavity(z)
        return centre + half_depth * np.float32(0.80)

    def cavity_depth(self, x: Field, y: Field, z: Field | float) -> Field:
        half_width, half_depth, centre = self.cavity(z)
        return squircle_depth(x, y - centre, half_width, half_depth)

    def diaphragm(self, x: Field, y: Field) -> Field:
        """Height z of the diaphragm: two domes, deepest behind, shallow in front."""
        lateral = self.half_width * 0.46
        v = y / self.half_depth + 0.12
        behind, before = np.maximum(v, 0), np.maximum(-v, 0)
        slope = 0.42 * behind**2 + 0.16 * before**2.2
        domes = []
        for side, dome in ((-1, self.right_dome), (1, self.left_dome)):
            u = (side * x - lateral) / (self.half_width - lateral)
            fall = 0.30 * np.maximum(u, 0) ** 2 + 0.10 * np.maximum(-u, 0) ** 2 + slope
            domes.append(MARGIN_MM + self.lung_height * (dome - fall))
        height: Field = np.maximum(np.maximum(*domes), MARGIN_MM)
        return height

    def cupola(self, x: Field, y: Field) -> Field:
        """Height z of the top of the lungs: a dome on each side, behind the middle."""
        lateral, behind = 0.36 * self.half_width, 0.22 * self.half_depth
        distance2 = (np.abs(x) - lateral) ** 2 + 0.8 * (y - behind) ** 2
        return self.apex - distance2 / (0.48 * self.half_width)

    def heart_depth(self, x: Field, y: Field, z: Field | float) -> Field:
        """The heart: ventricles that point to the left and to the front, and the right atrium."""
        size = self.unit * self.heart
        cos, sin = float(np.cos(0.6)), float(np.sin(0.6))
        height = self.z(self.left_dome + 0.10)
        dx, dy = x - 22 * self.unit, y + 0.27 * self.half_depth
        ventricles = ellipsoid_depth(
            dx * cos - dy * sin,
            dx * sin + dy * cos,
            z,
            (0.0, 0.0, height - 4),
            (56 * size, 40 * size, 52 * size),
        )
        atria = ellipsoid_depth(
            x,
            y,
            z,
            (-12 * self.unit, -0.12 * self.half_depth, height + 10),
            (34 * size, 36 * size, 48 * size),
        )
        return _union(ventricles, atria, 18.0)

    def column_depth(self, x: Field, y: Field, z: Field | float) -> Field:
        """The mediastinum between sternum and spine without the heart."""
        _, half_depth, centre = self.cavity(z)
        v = (y - centre) / half_depth
        inlet = np.clip((self.level(z) - 0.78) / 0.16, 0, 1)
        half = np.interp(v, _COLUMN_AT, _COLUMN) * (1 - inlet) + np.interp(v, _COLUMN_AT, _INLET) * inlet
        depth: Field = (half * self.unit).astype(np.float32) - np.abs(x - self.sway)
        return depth

    @property
    def carina(self) -> tuple[float, float, float]:
        return (-2.0, 0.12 * self.half_depth, self.z(0.66))

    def hilum(self, side: Side) -> tuple[float, float, float]:
        across = 44 * self.unit
        if side == "left":
            return (across, 0.14 * self.half_depth, self.z(0.60))
        return (-across, 0.12 * self.half_depth, self.z(0.57))

    def aorta_depth(self, x: Field, y: Field, z: Field | float) -> Field:
        """Ascending aorta, arch and descending aorta."""
        radius, top = 12.5 * self.unit, self.z(0.75)
        rising = (-12 * self.unit, -0.28 * self.half_depth)
        falling = (25 * self.unit, float(self.spine_y(top)) - 22 * self.unit)
        over = z - np.float32(top)
        descending = radius - np.hypot(x - falling[0], y - (self.spine_y(z) - 22 * self.unit))
        depth: Field = np.where(over > 0, np.float32(-99), descending)
        rises = (over <= 0) & (z > np.float32(self.z(0.5)))
        if np.any(rises):
            ascending = 1.15 * radius - np.hypot(x - rising[0], y - rising[1])
            depth = np.where(rises, np.maximum(depth, ascending), depth)
        if np.any(np.abs(over) < radius + 3):
            arch = radius - np.hypot(capsule_distance(x, y, rising, falling), over)
            depth = np.maximum(depth, arch)
        return depth

    def spine_depth(self, x: Field, y: Field, z: Field | float) -> Field:
        """Vertebral bodies with the tissue around them."""
        return 21 * self.unit - np.hypot(x, 1.12 * (y - self.spine_y(z)))

    def mediastinum_depth(self, x: Field, y: Field, z: Field | float) -> Field:
        """Everything between the lungs."""
        return between_lungs(
            self.column_depth(x, y, z),
            self.heart_depth(x, y, z),
            self.aorta_depth(x, y, z),
            self.spine_depth(x, y, z),
        )

    def lung_depth(self, x: Field, y: Field, z: Field | float) -> Field:
        """Both lungs; x > 0 is the left one."""
        vertical = np.minimum(z - self.diaphragm(x, y), self.cupola(x, y) - z) * 0.75
        depth: Field = np.minimum(self.cavity_depth(x, y, z), vertical)
        return np.minimum(depth, -self.mediastinum_depth(x, y, z))

    def lower_lobe_depth(self, y: Field, z: Field | float) -> Field:
        """Below the oblique fissure, which rises from front to back."""
        fissure = self.z(0.40) + y * (0.30 * self.lung_height / self.half_depth)
        depth: Field = (fissure - z) * 0.75
        return depth

    def middle_lobe_depth(self, y: Field, z: Field | float) -> Field:
        """Below the horizontal fissure of the right lung."""
        return self.z(0.50) - z + 0 * y

    def lung_litres(self) -> float:
        """Volume of both lungs, on a lattice of 6 mm."""
        step = 6.0
        z, y, x = (
            np.arange(0, self.extent_mm, step, dtype=np.float32)[:, None, None],
            np.arange(-self.half_depth, self.half_depth, step, dtype=np.float32)[None, :, None],
            np.arange(-self.half_width, self.half_width, step, dtype=np.float32)[None, None, :],
        )
        inside = self.lung_depth(x, y, z) > 0
        return float(inside.sum()) * step**3 / 1e6


def between_lungs(column: Field, heart: Field, aorta: Field, spine: Field) -> Field:
    """Depth inside of the union of what lies between the lungs."""
    depth: Field = np.maximum(np.maximum(column, heart), np.maximum(aorta, spine) + 2)
    return depth


@lru_cache(maxsize=64)
def anatomy_of(seed: int) -> Anatomy:
    """The patient of a seed."""
    return Anatomy.draw(np.random.default_rng((seed, 0xB0D1)))
