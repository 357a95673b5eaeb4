"""The lungs: parenchyma, fissures, disease, vessels and airways."""

from __future__ import annotations

import numpy as np

from tools.phantom import tissue
from tools.phantom.chest import Field
from tools.phantom.lesions import Lesion, lobe_depth
from tools.phantom.mimics import add_haze
from tools.phantom.patient import Patient
from tools.phantom.section import Section, Thorax, run
from tools.phantom.tissue import blend
from tools.phantom.trees import Cover


class Lungs:
    """Paints both lungs, and what branches into them, onto the thorax window."""

    def __init__(self, thorax: Thorax, patient: Patient, slabs: int) -> None:
        self._thorax, self._patient = thorax, patient
        trees = patient.trees
        self._vessels, self._walls, self._lumina = (
            Cover(tubes, thorax.grid, thorax.window, slabs)
            for tubes in (trees.vessels, trees.walls, trees.lumina)
        )

    def paint(
        self, hu: Field, section: Section, index: int, fields: tuple[Field, Field, Field]
    ) -> tuple[Field, Field]:
        """Paints slab `index`; returns the shares of lung and of disease in each sample of the window.

        `fields` are unit random fields, coarse, middle and fine.
        """
        coarse, middle, fine = fields
        anatomy, coverage, y = self._thorax.anatomy, self._thorax.grid.coverage, section.y
        lung = coverage(section.lungs)
        sick = np.zeros_like(lung)
        white: Field | float = 0.0
        if lung.any():
            slope = tissue.PARENCHYMA + tissue.GRAVITY * y / anatomy.half_depth
            parenchyma = slope + 10 * coarse + 9 * middle + 16 * fine
            fissure = anatomy.lower_lobe_depth(y, section.z) + 2 * coarse
            blend(parenchyma, coverage(0.5 - np.abs(fissure)) * 0.5, -650.0)
            add_haze(parenchyma, self._patient.mimics, anatomy, section, coarse)
            beside = np.zeros_like(lung)
            for lesions, where in ((self._patient.others, beside), (self._patient.lesions, sick)):
                for lesion in lesions:
                    self._paint_lesion(
                        lesion, parenchyma=parenchyma, lung=lung, sick=where, section=section, fields=fields
                    )
            if self._patient.whiteout:
                side = section.x > 0 if self._patient.whiteout == "left" else section.x < 0
                white = side.astype(np.float32) * (lung > 0)
                blend(parenchyma, white, tissue.WHITEOUT + 6 * middle)
                np.maximum(sick, white * lung, out=sick)
            blend(hu, lung, parenchyma)
        blend(hu, self._vessels.plane(index), tissue.BLOOD)
        blend(hu, self._walls.plane(index) * (1 - white), tissue.BRONCHIAL_WALL)
        blend(hu, self._lumina.plane(index) * (1 - white), tissue.AIR)
        return lung, sick

    def _paint_lesion(
        self,
        lesion: Lesion,
        *,
        parenchyma: Field,
        lung: Field,
        sick: Field,
        section: Section,
        fields: tuple[Field, Field, Field],
    ) -> None:
        reach = lesion.reach_mm
        if abs(section.z - lesion.centre[2]) > reach:
            return
        same_side = (section.x[0] > 0) == (lesion.side == "left")
        part = (
            run(np.abs(section.y[:, 0] - lesion.centre[1]) < reach),
            run((np.abs(section.x[0] - lesion.centre[0]) < reach) & same_side),
        )
        coarse, middle, fine = (field[part] for field in fields)
        x, y = section.x[:, part[1]], section.y[part[0]]
        presence = lesion.presence(x, y, section.z, 0.6 * coarse + 0.8 * middle)
        if lesion.lobe:
            edge = lobe_depth(self._thorax.anatomy, lesion.side, lesion.lobe, y, section.z) + 2 * coarse
            presence = presence * self._thorax.grid.coverage(edge)
        uneven = lesion.unevenness * (0.7 * middle + 0.7 * fine)
        density = lesion.hu + uneven
        # Disease adds to the lung: it never makes it lighter.
        blend(parenchyma[part], presence, np.maximum(parenchyma[part], density))
        np.maximum(sick[part], (presence > 0.5) * lung[part], out=sick[part])
