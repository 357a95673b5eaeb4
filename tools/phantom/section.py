"""One slab of one patient: where its surfaces lie, computed once for everything that is painted there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.phantom.anatomy import Anatomy, between_lungs
from tools.phantom.chest import Bool, Field
from tools.phantom.grid import Grid


def run(chosen: Bool) -> slice:
    """From the first to the last true value of a line."""
    where = np.flatnonzero(chosen)
    return slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0)


class Thorax:
    """The window of the grid that holds the thorax, and what is the same in all its slabs."""

    def __init__(self, anatomy: Anatomy, grid: Grid) -> None:
        self.anatomy, self.grid = anatomy, grid
        self.reach = anatomy.half_width + 24
        self.front, self.back = -anatomy.half_depth - 26, anatomy.half_depth + 55
        self.window = grid.window(self.front, self.back), grid.window(-self.reach, self.reach)
        self.x, self.y = grid.x[:, self.window[1]], grid.y[self.window[0]]
        self.diaphragm = anatomy.diaphragm(self.x, self.y)
        self.cupola = anatomy.cupola(self.x, self.y)
        rise_y, rise_x = np.gradient(self.diaphragm, grid.sample_mm)
        self._steepness = 1 / np.sqrt(1 + rise_x**2 + rise_y**2)

    def section(self, z: float) -> Section:
        anatomy, x, y = self.anatomy, self.x, self.y
        cavity = anatomy.cavity_depth(x, y, z)
        heart, aorta = anatomy.heart_depth(x, y, z), anatomy.aorta_depth(x, y, z)
        spine = anatomy.spine_depth(x, y, z)
        between = between_lungs(anatomy.column_depth(x, y, z), heart, aorta, spine)
        under = (self.diaphragm - z) * self._steepness
        vertical = np.minimum(-under, (self.cupola - z) * 0.75)
        lungs = np.minimum(np.minimum(cavity, vertical), -between)
        return Section(z, float(anatomy.level(z)), x, y, cavity, heart, aorta, spine, under, lungs)


@dataclass(frozen=True, eq=False)
class Section:
    """A slab at z (mm), level 0 to 1 within the lungs.

    `x` [1, columns] and `y` [rows, 1] are coordinates; the rest are depths in mm, positive inside: of the
    thoracic cavity, heart, aorta, spine, below the diaphragm, and in the lungs.
    """

    z: float
    level: float
    x: Field
    y: Field
    cavity: Field
    heart: Field
    aorta: Field
    spine: Field
    under: Field
    lungs: Field
