"""Densities in HU at 120 kV, and how one replaces another."""

from __future__ import annotations

from tools.phantom.chest import Field

AIR, FAT, SKIN, MUSCLE = -1000.0, -100.0, 20.0, 52.0
BLOOD, LIVER, SPLEEN, STOMACH, ESOPHAGUS, CORD = 40.0, 58.0, 50.0, 38.0, 32.0, 25.0
MARROW, CORTEX, CARTILAGE, DISC = 170.0, 780.0, 110.0, 75.0
BRONCHIAL_WALL, WHITEOUT = -60.0, 30.0
PARENCHYMA, GRAVITY = -862.0, 38.0
"""Lung between the vessels halfway from front to back, and what it gains from there to the back."""


def blend(onto: Field, share: Field, hu: Field | float) -> None:
    """Replaces a share (0 to 1) of each sample by another density, in place."""
    onto += share * (hu - onto)
