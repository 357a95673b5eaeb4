"""The patient's shape: surfaces in millimetres, drawn from a seed.

Coordinates are the patient's (LPS directions): x to the left, y to posterior, z to the head, with x = y = 0 on
the body's axis and z = 0 at the inferior edge of the scan. Every surface is a function of x, y and z that
broadcasts, positive inside, in mm to a good approximation near zero: the same functions give the voxels and
tell where vessels and lesions may grow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from tools.phantom.chest import Bool, Float32, Side

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


def squircle_depth(
    x: Float32, y: Float32, half_width: Float32 | float, half_depth: Float32 | float
) -> Float32:
    """Distance along the ray from the centre to a Fernandez-Guasti squircle, positive inside."""
    across, along = (x / half_width) ** 2, (y / half_depth) ** 2
    total = across + along
    radius = np.sqrt(
        0.5 * (total + np.sqrt(np.maximum(total * total - (4 * 0.72**2) * (across * along), 0))) + 1e-9
    )
    depth: Float32 = np.sqrt(x * x + y * y) * (1 / radius - 1)
    return np.where(radius < 0.02, np.float32(min(np.min(half_width), np.min(half_depth))), depth)


def ellipsoid_depth(
    x: Float32,
    y: Float32,
    z: Float32 | float,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> Float32:
    """Approximate distance to an ellipsoid, positive inside."""
    rho = np.sqrt(
        ((x - centre[0]) / radii[0]) ** 2
        + ((y - centre[1]) / radii[1]) ** 2
        + ((z - centre[2]) / radii[2]) ** 2
    )
    depth: Float32 = (1 - rho) * min(radii)
    return depth


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

    def level(self, z: Float32 | float) -> Float32 | float:
        """Height within the lungs: 0 at the deepest recess, 1 at the apex."""
        return (z - MARGIN_MM) / self.lung_height

    def z(self, level: float) -> float:
        return MARGIN_MM + level * self.lung_height

    def cavity(self, z: Float32 | float) -> tuple[Float32, Float32, Float32]:
        """Half width, half depth and the centre's y of the thoracic cavity at z."""
        level = self.level(z)
        return (
            np.float32(self.half_width) * _WIDTH(level).astype(np.float32),
            np.float32(self.half_depth) * _DEPTH(level).astype(np.float32),
            np.float32(self.half_depth) * _SHIFT(level).astype(np.float32),
        )

    def spine_y(self, z: Float32 | float) -> Float32:
        """y of the centre of the vertebral bodies."""
        _, half_depth, centre = self.cavity(z)
        spine: Float32 = centre + half_depth * np.float32(0.80)
        return spine

    def cavity_depth(self, x: Float32, y: Float32, z: Float32 | float) -> Float32:
        half_width, half_depth, centre = self.cavity(z)
        return squircle_depth(x, y - centre, half_width, half_depth)

    def diaphragm(self, x: Float32, y: Float32) -> Float32:
        """Height z of the diaphragm: two domes, deepest behind, shallow in front."""
        lateral = self.half_width * 0.46
        v = y / self.half_depth + 0.12
        height = np.full(np.broadcast_shapes(x.shape, y.shape), -1e3, np.float32)
        for side, dome in ((-1, self.right_dome), (1, self.left_dome)):
            u = (side * x - lateral) / (self.half_width - lateral)
            fall = (
                0.30 * np.maximum(u, 0) ** 2
                + 0.10 * np.maximum(-u, 0) ** 2
                + 0.42 * np.maximum(v, 0) ** 2
                + 0.16 * np.maximum(-v, 0) ** 2.2
            )
            height = np.maximum(height, MARGIN_MM + self.lung_height * (dome - fall))
        clamped: Float32 = np.maximum(height, MARGIN_MM).astype(np.float32)
        return clamped

    def cupola(self, x: Float32, y: Float32) -> Float32:
        """Height z of the top of the lungs: a dome on each side, behind the middle."""
        lateral, behind = 0.36 * self.half_width, 0.22 * self.half_depth
        distance2 = (np.abs(x) - lateral) ** 2 + 0.8 * (y - behind) ** 2
        height: Float32 = (self.apex - distance2 / (0.55 * self.half_width)).astype(np.float32)
        return height

    def heart_depth(self, x: Float32, y: Float32, z: Float32 | float) -> Float32:
        """The heart: an ellipsoid that points to the left and to the front."""
        size = self.unit * self.heart
        cos, sin = np.float32(np.cos(0.6)), np.float32(np.sin(0.6))
        dx, dy = x - np.float32(20 * self.unit), y + np.float32(0.26 * self.half_depth)
        along, across = dx * cos - dy * sin, dx * sin + dy * cos
        return ellipsoid_depth(
            along, across, z, (0.0, 0.0, self.z(self.left_dome + 0.10)), (58 * size, 43 * size, 56 * size)
        )

    def column_depth(self, x: Float32, y: Float32, z: Float32 | float) -> Float32:
        """The mediastinum between sternum and spine without the heart."""
        _, half_depth, centre = self.cavity(z)
        v = (y - centre) / half_depth
        inlet = np.clip((self.level(z) - np.float32(0.78)) / np.float32(0.16), 0, 1)
        half = np.interp(v, _COLUMN_AT, _COLUMN) * (1 - inlet) + np.interp(v, _COLUMN_AT, _INLET) * inlet
        depth: Float32 = (half * self.unit).astype(np.float32) - np.abs(x - np.float32(self.sway))
        return depth

    @property
    def arch_z(self) -> float:
        return self.z(0.76)

    @property
    def carina(self) -> tuple[float, float, float]:
        return (-2.0, 0.12 * self.half_depth, self.z(0.66))

    def hilum(self, side: Side) -> tuple[float, float, float]:
        across = 44 * self.unit
        return (
            (across, 0.14 * self.half_depth, self.z(0.60))
            if side == "left"
            else (-across, 0.12 * self.half_depth, self.z(0.57))
        )

    def aorta_depth(self, x: Float32, y: Float32, z: Float32 | float) -> Float32:
        """Ascending aorta, arch and descending aorta."""
        radius = np.float32(12.5 * self.unit)
        down_x, down_y = np.float32(25 * self.unit), self.spine_y(z) - np.float32(22 * self.unit)
        up_x, up_y = np.float32(-12 * self.unit), np.float32(-0.28 * self.half_depth)
        z = np.asarray(z, np.float32)
        over = z - np.float32(self.arch_z)
        down = radius - np.hypot(x - down_x, y - down_y)
        down = np.where(over > 0, np.float32(-99), down)
        rising = (over <= 0) & (z > self.z(0.5))
        up = np.where(rising, 1.15 * radius - np.hypot(x - up_x, y - up_y), np.float32(-99))
        along_x, along_y = down_x - up_x, down_y - up_y
        t = np.clip(
            ((x - up_x) * along_x + (y - up_y) * along_y) / (along_x * along_x + along_y * along_y), 0, 1
        )
        arch = radius - np.sqrt((x - up_x - t * along_x) ** 2 + (y - up_y - t * along_y) ** 2 + over**2)
        depth: Float32 = np.maximum(np.maximum(down, up), arch)
        return depth

    def spine_depth(self, x: Float32, y: Float32, z: Float32 | float) -> Float32:
        """Vertebral bodies with the tissue around them."""
        depth: Float32 = np.float32(21 * self.unit) - np.hypot(x, 1.12 * (y - self.spine_y(z)))
        return depth

    def mediastinum_depth(self, x: Float32, y: Float32, z: Float32 | float) -> Float32:
        """Everything between the lungs."""
        depth: Float32 = np.maximum(
            np.maximum(self.column_depth(x, y, z), self.heart_depth(x, y, z)),
            np.maximum(self.aorta_depth(x, y, z), self.spine_depth(x, y, z)) + np.float32(2),
        )
        return depth

    def lung_depth(self, x: Float32, y: Float32, z: Float32 | float) -> Float32:
        """Both lungs; x > 0 is the left one."""
        vertical = np.minimum(z - self.diaphragm(x, y), self.cupola(x, y) - z) * np.float32(0.75)
        depth: Float32 = np.minimum(
            np.minimum(self.cavity_depth(x, y, z), vertical), -self.mediastinum_depth(x, y, z)
        )
        return depth

    def lower_lobe_depth(self, y: Float32, z: Float32 | float) -> Float32:
        """Below the oblique fissure, which rises from front to back."""
        fissure = self.z(0.40) + y * np.float32(0.30 * self.lung_height / self.half_depth)
        depth: Float32 = (fissure - z) * np.float32(0.75)
        return depth

    def horizontal_fissure(self, z: Float32 | float) -> Float32:
        """Height above the fissure between the right upper and middle lobes."""
        return np.asarray(z - np.float32(self.z(0.50)), np.float32)

    def lung_litres(self) -> float:
        """Volume of both lungs, on a lattice of 6 mm."""
        step = 6.0
        z, y, x = (
            np.arange(0, self.extent_mm, step, dtype=np.float32)[:, None, None],
            np.arange(-self.half_depth, self.half_depth, step, dtype=np.float32)[None, :, None],
            np.arange(-self.half_width, self.half_width, step, dtype=np.float32)[None, None, :],
        )
        inside: Bool = self.lung_depth(x, y, z) > 0
        return float(inside.sum()) * step**3 / 1e6


@lru_cache(maxsize=64)
def anatomy_of(seed: int) -> Anatomy:
    """The patient of a seed."""
    return Anatomy.draw(np.random.default_rng((seed, 0xB0D1)))
