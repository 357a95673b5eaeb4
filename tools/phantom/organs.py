"""What the thoracic cavity holds besides the lungs."""

from __future__ import annotations

import numpy as np

from tools.phantom import tissue
from tools.phantom.anatomy import ellipsoid_depth
from tools.phantom.chest import Field
from tools.phantom.section import Section, Thorax
from tools.phantom.tissue import blend


def paint_organs(hu: Field, section: Section, thorax: Thorax, mottle: Field) -> None:
    """Mediastinum, heart and the organs below the diaphragm, onto the thorax window."""
    anatomy, coverage, x, y = thorax.anatomy, thorax.grid.coverage, section.x, section.y
    spared = coverage(-section.spine - 2)
    blend(hu, coverage(section.cavity) * spared, tissue.FAT + 20 + 55 * np.clip(mottle, 0, 1.2))
    if section.level > 0.72:
        neck = ellipsoid_depth(np.abs(x), y, section.z, (15.0, 6.0, anatomy.apex), (9, 9, 900))
        blend(hu, coverage(neck) * min((section.level - 0.72) / 0.1, 1.0), tissue.BLOOD)
    gullet = float(anatomy.spine_y(section.z)) - 23 * anatomy.unit
    blend(hu, coverage(7 - np.hypot(x - 5, y - gullet)), tissue.ESOPHAGUS)
    if section.level < 0.5:
        _paint_abdomen(hu, section, thorax, spared)
    blend(hu, coverage(section.heart), tissue.FAT + 15)
    blend(hu, coverage(section.heart - 2.5), tissue.BLOOD)
    blend(hu, coverage(section.aorta), tissue.BLOOD + 2)


def _paint_abdomen(hu: Field, section: Section, thorax: Thorax, spared: Field) -> None:
    anatomy, coverage, x, y, z = thorax.anatomy, thorax.grid.coverage, section.x, section.y, section.z
    under = np.minimum(section.under, section.cavity)
    blend(hu, coverage(under) * spared, tissue.MUSCLE)
    under = under - 2.5
    border = 28 - x - 0.5 * y
    blend(hu, coverage(np.minimum(under, border)) * spared, tissue.LIVER)
    left = np.minimum(under, -border)
    blend(hu, coverage(left) * spared, tissue.FAT)
    top = anatomy.z(anatomy.left_dome)
    spleen = ellipsoid_depth(x, y, z, (0.68 * anatomy.half_width, 40, top - 62), (38, 42, 46))
    blend(hu, coverage(np.minimum(spleen, left)), tissue.SPLEEN)
    stomach = ellipsoid_depth(x, y, z, (0.45 * anatomy.half_width, -18, top - 36), (34, 44, 30))
    stomach = np.minimum(stomach, left)
    blend(hu, coverage(stomach), tissue.STOMACH)
    # Gas rises to the front of a patient who lies on the back.
    blend(hu, coverage(np.minimum(stomach - 4, -30 - y)), tissue.AIR)
