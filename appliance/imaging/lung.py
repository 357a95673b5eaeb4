"""Lung in one slice, measured in its pixels.

Lung is air inside of the body: an area of low density that does not reach the border of the image, is
enclosed by tissue and is not gas. The gas of bowel, trachea and sinuses is emptier than lung; the foam of
tables and head rests, the other low density in a CT image, is not enclosed by tissue. One slice is enough, so
lung is known as soon as a slice has come.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from appliance.imaging.resample import covering, resample
from appliance.records import LungSection

CELL_MM: Final = 3.0
"""The grid on which lung is measured, whatever the model's."""

_AIR_HU = -400.0
_GAS_HU = -975.0
_ENCLOSING_HU = -300.0
_RIM_CELLS = 3
_SMALLEST_MM2 = 200.0
_NO_LUNG = LungSection(0.0, None)


def find_lung(hu: npt.NDArray[np.float64], pixel_spacing: tuple[float, float]) -> LungSection:
    """The lung in a slice [rows, columns] in HU whose padding is air; `pixel_spacing` is in mm."""
    rows, columns = (
        covering(count, spacing, CELL_MM, parity=0)
        for count, spacing in zip(hu.shape, pixel_spacing, strict=True)
    )
    coarse = resample(hu, rows, columns)
    labels, count = ndimage.label(coarse < _AIR_HU)
    outside = np.unique(np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1])))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[outside] = sizes[0] = 0
    areas = sizes * CELL_MM**2
    lung = np.zeros_like(labels, dtype=bool)
    boxes = ndimage.find_objects(labels)
    for label in np.flatnonzero(areas >= _SMALLEST_MM2):
        box = boxes[label - 1]
        around = tuple(slice(max(0, side.start - _RIM_CELLS), side.stop + _RIM_CELLS) for side in box)
        component = labels[around] == label
        rim = ndimage.binary_dilation(component, iterations=_RIM_CELLS) & ~component
        if np.median(coarse[around][component]) >= _GAS_HU and np.median(coarse[around][rim]) > _ENCLOSING_HU:
            lung[around] |= component
    if not lung.any():
        return _NO_LUNG
    first_row, last_row = _extent(np.flatnonzero(lung.any(axis=1)), lung.shape[0])
    first_column, last_column = _extent(np.flatnonzero(lung.any(axis=0)), lung.shape[1])
    return LungSection(float(lung.sum()) * CELL_MM**2, (first_row, last_row, first_column, last_column))


def _extent(occupied: npt.NDArray[np.intp], cells: int) -> tuple[float, float]:
    """The outer edges of the occupied of so many cells, in mm from the middle."""
    return (float(occupied[0]) - cells / 2) * CELL_MM, (float(occupied[-1]) + 1 - cells / 2) * CELL_MM
