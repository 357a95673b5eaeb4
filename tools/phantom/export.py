"""How the scanner stores a phantom: the axes of its images in the patient frame.

PS3.3 C.7.3.1.1.2 (Patient Position) and C.7.6.2.1.1 (Image Position and Orientation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tools.phantom.chest import Int16, Phantom, PhantomError

Position = Literal["HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"]
Plane = Literal["axial", "coronal", "sagittal"]
Syntax = Literal["explicit", "implicit", "jpeg-lossless"]
Vector = tuple[int, int, int]
Float64 = npt.NDArray[np.float64]

# Directions of growing column and row index, in LPS, of an axial image on a scanner seen from its front.
_AXES: dict[Position, tuple[Vector, Vector]] = {
    "HFS": ((1, 0, 0), (0, 1, 0)),
    "HFP": ((-1, 0, 0), (0, -1, 0)),
    "HFDR": ((0, 1, 0), (-1, 0, 0)),
    "HFDL": ((0, -1, 0), (1, 0, 0)),
    "FFS": ((-1, 0, 0), (0, 1, 0)),
    "FFP": ((1, 0, 0), (0, -1, 0)),
    "FFDR": ((0, -1, 0), (-1, 0, 0)),
    "FFDL": ((0, 1, 0), (1, 0, 0)),
}


@dataclass(frozen=True)
class Export:
    """One series as the scanner writes it.

    `position` is the patient's on the table; `flip_rows` and `flip_columns` store rows and columns in
    reverse, with the orientation that goes with it; `reverse_instances` numbers the slices the other way
    round.
    `tilt_deg` leans the gantry about x, so that the slices are sheared; `turn_x_deg` and `turn_z_deg`
    turn the whole image stack about x and z: these three resample the voxels. `padding` marks the corners
    outside of the reconstruction circle as PixelPaddingValue. `study` is the Study Instance UID
    to join; `image_type` replaces the default one. Raises PhantomError when a field is out of its range.
    """

    position: Position = "HFS"
    plane: Plane = "axial"
    flip_rows: bool = False
    flip_columns: bool = False
    reverse_instances: bool = False
    syntax: Syntax = "explicit"
    study: str | None = None
    series_number: int = 2
    tilt_deg: float = 0.0
    turn_x_deg: float = 0.0
    turn_z_deg: float = 0.0
    padding: bool = False
    image_type: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("position", self.position, get_args(Position)),
            ("plane", self.plane, get_args(Plane)),
            ("syntax", self.syntax, get_args(Syntax)),
        ):
            if value not in allowed:
                raise PhantomError(f"{name} is {value!r}: choose one of {', '.join(allowed)}.")
        for name, angle in (("tilt", self.tilt_deg), ("turn", self.turn_x_deg), ("turn", self.turn_z_deg)):
            if not -45.0 <= angle <= 45.0:
                raise PhantomError(f"{name} is {angle:g} degrees: choose -45 to 45.")
        if self.tilt_deg and self.plane != "axial":
            raise PhantomError("a gantry tilt needs axial slices: leave out one of the two.")
        if self.tilt_deg and (self.turn_x_deg or self.turn_z_deg or "D" in self.position):
            raise PhantomError("a gantry tilt goes with a patient who lies supine or prone, not turned.")


@dataclass(frozen=True, eq=False)
class Stored:
    """The images of a series: `hu` int16 [slice, row, column] in the order of their instance numbers.

    `row` and `column` are the six numbers of ImageOrientationPatient, `first` the position of the first voxel
    of the first slice, `step` the way from slice to slice, all in mm or unit vectors in LPS; `spacing_mm`
    is (between slices along the step, between rows, between columns).
    """

    hu: Int16
    row: Float64
    column: Float64
    first: Float64
    step: Float64
    spacing_mm: tuple[float, float, float]

    def position(self, index: int) -> Float64:
        return self.first + index * self.step


def _turn(axis: Literal["x", "z"], degrees: float) -> Float64:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    if axis == "x":
        return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def _directions(export: Export) -> tuple[Vector, Vector, Vector]:
    """Growing column, row and slice index, along the axes of LPS."""
    step: Vector
    if export.plane == "axial":
        row, column = _AXES[export.position]
        step = (0, 0, -1) if export.position.startswith("HF") else (0, 0, 1)
    elif export.plane == "coronal":
        row, column, step = (1, 0, 0), (0, 0, -1), (0, 1, 0)
    else:
        row, column, step = (0, 1, 0), (0, 0, -1), (1, 0, 0)
    signs = (export.flip_columns, export.flip_rows, export.reverse_instances)
    row, column, step = (
        (-v[0], -v[1], -v[2]) if flipped else v for v, flipped in zip((row, column, step), signs, strict=True)
    )
    return row, column, step


def stored(phantom: Phantom, export: Export) -> Stored:
    """The phantom's voxels as the images of this export: whole axes moved, resampled only when turned."""
    directions = _directions(export)
    spacing = np.array(phantom.spacing_mm[::-1])
    size = np.array(phantom.hu.shape[::-1])
    axes = [int(np.abs(direction).argmax()) for direction in directions]
    row, column, step = (np.array(direction, float) for direction in directions)
    between = [float(spacing[axis]) for axis in axes]
    first = np.array(phantom.origin_mm) + sum(
        np.where(np.array(direction) < 0, (size - 1) * spacing, 0) for direction in directions
    )
    order = [2 - axis for axis in reversed(axes)]
    hu = phantom.hu.transpose(order)
    flips = [slice(None, None, -1 if min(direction) < 0 else 1) for direction in reversed(directions)]
    images = Stored(
        hu[flips[0], flips[1], flips[2]],
        row,
        column,
        first,
        step * between[2],
        (between[2], between[1], between[0]),
    )
    if export.tilt_deg or export.turn_x_deg or export.turn_z_deg:
        return _resampled(phantom, images, export)
    return images


def _resampled(phantom: Phantom, images: Stored, export: Export) -> Stored:
    """Turned about the centre of the scan, linear between voxels, -1024 HU outside of it."""
    turn = _turn("z", export.turn_z_deg) @ _turn("x", export.turn_x_deg)
    row, step = turn @ images.row, turn @ images.step
    column = turn @ _turn("x", export.tilt_deg) @ images.column
    counts = np.array(images.hu.shape) - 1
    ways = np.stack([step, column * images.spacing_mm[1], row * images.spacing_mm[2]], axis=1)
    old = np.stack(
        [images.step, images.column * images.spacing_mm[1], images.row * images.spacing_mm[2]], axis=1
    )
    first = images.first + (old - ways) @ (counts / 2)
    scale = 1 / np.array(phantom.spacing_mm[::-1])
    to_voxels = (scale[:, None] * ways)[::-1]
    offset = (scale * (first - np.array(phantom.origin_mm)))[::-1]
    moved = ndimage.affine_transform(
        phantom.hu.astype(np.float32), to_voxels, offset, images.hu.shape, order=1, cval=-1024.0
    )
    return replace(images, hu=np.rint(moved).astype(np.int16), row=row, column=column, first=first, step=step)
