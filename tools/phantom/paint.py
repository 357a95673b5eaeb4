"""One slab of a patient at a time: densities in HU from the anatomy, the trees and the lesions."""

from __future__ import annotations

import numpy as np

from tools.phantom.chest import SLAB_MM, Field
from tools.phantom.grid import Grid
from tools.phantom.lungs import Lungs
from tools.phantom.organs import paint_organs
from tools.phantom.patient import Patient
from tools.phantom.section import Thorax
from tools.phantom.texture import SmoothField
from tools.phantom.wall import Wall


class Painter:
    """Paints the slabs of one patient on one grid."""

    def __init__(self, patient: Patient, grid: Grid, rng: np.random.Generator) -> None:
        self._thorax = thorax = Thorax(patient.anatomy, grid)
        self.slabs = round(patient.anatomy.extent_mm / SLAB_MM)
        y, x = thorax.y[:, 0], thorax.x[0]
        box = (
            (0.0, patient.anatomy.extent_mm),
            (thorax.front - 5, thorax.back + 5),
            (-thorax.reach - 5, thorax.reach + 5),
        )
        self._fields = [SmoothField(rng, scale_mm, box, y, x) for scale_mm in (18.0, 6.0, 2.5)]
        self._wall = Wall(thorax)
        self._lungs = Lungs(thorax, patient, self.slabs)

    def slab(self, index: int) -> tuple[Field, Field, float]:
        """Densities in HU and the share of disease, both [samples, samples], and the lungs' area in mm2."""
        thorax, grid = self._thorax, self._thorax.grid
        section = thorax.section((index + 0.5) * SLAB_MM)
        coarse, middle, fine = (field.plane(section.z) for field in self._fields)
        hu = self._wall.paint(section, coarse)
        inner = hu[thorax.window]
        paint_organs(inner, section, thorax, coarse)
        lung, sick = self._lungs.paint(inner, section, index, (coarse, middle, fine))
        disease = np.zeros_like(hu)
        disease[thorax.window] = sick
        return hu, disease, float(lung.sum()) * grid.sample_mm**2
