"""Directions of an image in the patient: ImageOrientationPatient (PS3.3 C.7.6.2.1.1) and what follows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Orientation = tuple[float, float, float, float, float, float]


class Axes(NamedTuple):
    """Unit vectors in LPS along which an index grows: `columns` to the next column (the direction of a row),
    `rows` to the next row, `normal` = columns × rows, along which slices are ordered."""

    columns: Float64
    rows: Float64
    normal: Float64


def axes(orientation: Orientation) -> Axes:
    columns = np.array(orientation[:3])
    rows = np.array(orientation[3:])
    columns /= np.linalg.norm(columns)
    rows /= np.linalg.norm(rows)
    normal = np.cross(columns, rows)
    return Axes(columns, rows, normal / np.linalg.norm(normal))


def is_transposed(orientation: Orientation) -> bool:
    """Whether a row of the image runs rather between front and back than between right and left."""
    along = axes(orientation)
    return bool(abs(along.columns[1]) + abs(along.rows[0]) > abs(along.columns[0]) + abs(along.rows[1]))


def degrees_off_axial(orientation: Orientation) -> float:
    """The largest angle between the axes of the image and the nearest axes of the patient, the normal's being
    that from feet to head."""
    along = axes(orientation)
    x, y = (along.rows, along.columns) if is_transposed(orientation) else (along.columns, along.rows)
    cosines: tuple[Any, ...] = (abs(x[0]), abs(y[1]), abs(along.normal[2]))
    return float(np.degrees(np.arccos(np.clip(min(cosines), 0, 1))))
