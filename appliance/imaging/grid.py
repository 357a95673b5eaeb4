"""From the planes of a stack to the volume on the model's grid, in the patient's frame (LPS).

Along each axis the stack is a row of model cells; the grid is cut out of them by whole cells, centred on the
image or, where that would cut lung, on the lung.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from appliance.imaging.geometry import Stack
from appliance.imaging.orientation import axes, is_transposed
from appliance.imaging.resample import Weights, area_weights
from appliance.reasons import Reason
from appliance.records import Float32, LungSection, Problem, Volume
from engines.spec import Grid

Float64 = npt.NDArray[np.float64]

_LEAST_SECTION = 0.02
"""Lung sections below this part of the largest may lie outside of the grid."""


@dataclass(frozen=True, slots=True)
class _Extent:
    """An axis of the patient: `cells` cells of `cell` mm, and the edges of the lung, counted in cells."""

    cells: int
    cell: float
    lung: tuple[float, float]

    def start(self, size: int) -> int | None:
        """The first cell of a grid of `size` cells, negative if it begins outside; None if it cuts lung."""
        centred = (self.cells - size) // 2
        if self._holds(centred, size):
            return centred
        # Whole cells, and as near to the middle of the lung as they allow.
        moved = math.floor((self.lung[0] + self.lung[1] - size) / 2 + 0.5)
        return moved if self._holds(moved, size) else None

    def _holds(self, start: int, size: int) -> bool:
        return start <= self.lung[0] and self.lung[1] <= start + size


def model_volume(
    stack: Stack, planes: Sequence[Float32], lungs: Sequence[LungSection], grid: Grid
) -> Volume | Problem:
    """The volume on the grid, or exceeds_grid where no place of the grid holds all lung.

    `stack` is one without a problem; `planes` [h, w] and `lungs` are in the order of its `heights`, the
    planes on the grid's in-plane spacing and centred on the image. Cells outside of the scan are filled; a
    cell that the stack covers in part is the mean of that part.
    """
    along = axes(stack.orientation)
    transposed = is_transposed(stack.orientation)
    x, y = (along.rows, along.columns) if transposed else (along.columns, along.rows)
    head_first = along.normal[2] > 0
    upwards = 1 if head_first else -1
    if not head_first:
        planes, lungs = planes[::-1], lungs[::-1]

    spacing = _spacing(stack)
    weights = _depth_weights(len(planes), spacing, grid.spacing_mm[0])
    held = _lung_run(lungs)
    bounds = _lung_bounds(lungs[held.start : held.stop], transposed, flip_y=y[1] < 0, flip_x=x[0] < 0)
    height, width = planes[0].shape[::-1] if transposed else planes[0].shape
    extents = (
        _Extent(
            weights.shape[0], grid.spacing_mm[0], _in_depth(held, len(lungs), spacing / grid.spacing_mm[0])
        ),
        _Extent(height, grid.spacing_mm[1], _in_cells(bounds[0], height, grid.spacing_mm[1])),
        _Extent(width, grid.spacing_mm[2], _in_cells(bounds[1], width, grid.spacing_mm[2])),
    )
    starts = [extent.start(size) for extent, size in zip(extents, grid.size, strict=True)]
    if None in starts:
        return _exceeds(extents, grid)
    z0, y0, x0 = (start for start in starts if start is not None)

    stacked = np.stack(planes)
    depth, rows, columns = grid.size
    low, high = max(z0, 0), min(z0 + depth, weights.shape[0])
    flat = weights[low:high] @ stacked.reshape(len(planes), -1)
    block = flat.reshape(-1, *stacked.shape[1:])
    if transposed:
        block = block.transpose(0, 2, 1)
    block = block[:, :: 1 if y[1] > 0 else -1, :: 1 if x[0] > 0 else -1]
    hu = np.full(grid.size, grid.fill_hu, np.float32)
    inside = block[:, max(y0, 0) : y0 + rows, max(x0, 0) : x0 + columns]
    target = hu[low - z0 :, max(-y0, 0) :, max(-x0, 0) :]
    target[: inside.shape[0], : inside.shape[1], : inside.shape[2]] = inside

    centre = _image_centre(stack, along.columns, along.rows, from_last=not head_first)
    origin = (
        centre
        + along.normal * upwards * ((z0 + 0.5) * grid.spacing_mm[0] - spacing / 2)
        + np.copysign(1, y[1]) * y * (y0 + 0.5 - height / 2) * grid.spacing_mm[1]
        + np.copysign(1, x[0]) * x * (x0 + 0.5 - width / 2) * grid.spacing_mm[2]
    )
    return Volume(hu, grid.spacing_mm, (float(origin[0]), float(origin[1]), float(origin[2])))


def _spacing(stack: Stack) -> float:
    """The mean distance, rounded so that decimal positions do not decide about a last bit."""
    if len(stack.heights) == 1:
        return stack.spacing_mm[0] or 1.0
    return round((stack.heights[-1] - stack.heights[0]) / (len(stack.heights) - 1), 4)


def _depth_weights(slices: int, spacing: float, cell: float) -> Weights:
    """Weights [cells, slices], the first cell beginning at the inferior edge of the stack."""
    cells = max(1, math.ceil(slices * spacing / cell - 1e-6))
    edges = np.arange(slices + 1, dtype=np.float64) * spacing
    return area_weights(edges, np.arange(cells + 1, dtype=np.float64) * cell)


def _lung_run(lungs: Sequence[LungSection]) -> range:
    """The slices that hold lung: those around the largest section, as far as it goes on.

    What is much smaller is left out, since a grid shall not be found too short for a bubble of bowel gas.
    """
    areas = [lung.area_mm2 for lung in lungs]
    largest = max(range(len(areas)), key=areas.__getitem__)
    least = max(_LEAST_SECTION * areas[largest], 1.0)
    first = last = largest
    while first > 0 and areas[first - 1] >= least:
        first -= 1
    while last + 1 < len(areas) and areas[last + 1] >= least:
        last += 1
    return range(first, last + 1) if areas[largest] else range(0)


def _in_depth(held: range, slices: int, cells_a_slice: float) -> tuple[float, float]:
    """Edges of the slices that hold lung, in cells; the middle of the stack where none does."""
    if not held:
        return slices * cells_a_slice / 2, slices * cells_a_slice / 2
    return held.start * cells_a_slice, held.stop * cells_a_slice


def _lung_bounds(
    lungs: Sequence[LungSection], transposed: bool, *, flip_y: bool, flip_x: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The union of the lungs' bounds in mm from the image centre, ((anterior, posterior), (right, left))."""
    bounds = np.array([lung.bounds_mm for lung in lungs if lung.bounds_mm is not None]).reshape(-1, 4)
    if not bounds.size:
        return (0.0, 0.0), (0.0, 0.0)
    rows = float(bounds[:, 0].min()), float(bounds[:, 1].max())
    columns = float(bounds[:, 2].min()), float(bounds[:, 3].max())
    y, x = (columns, rows) if transposed else (rows, columns)
    return (-y[1], -y[0]) if flip_y else y, (-x[1], -x[0]) if flip_x else x


def _in_cells(bounds_mm: tuple[float, float], cells: int, cell: float) -> tuple[float, float]:
    return bounds_mm[0] / cell + cells / 2, bounds_mm[1] / cell + cells / 2


def _image_centre(stack: Stack, columns: Float64, rows: Float64, *, from_last: bool) -> Float64:
    """The middle of the inferior-most slice in LPS."""
    _, height, width = stack.size
    _, row_spacing, column_spacing = stack.spacing_mm
    corner = np.array(stack.last_position if from_last else stack.first_position)
    middle: Float64 = (
        corner + columns * column_spacing * (width - 1) / 2 + rows * row_spacing * (height - 1) / 2
    )
    return middle


def _exceeds(extents: Sequence[_Extent], grid: Grid) -> Problem:
    lung, room = (
        " × ".join(f"{mm:.0f}" for mm in lengths)
        for lengths in (
            [(extent.lung[1] - extent.lung[0]) * extent.cell for extent in extents],
            [size * cell for size, cell in zip(grid.size, grid.spacing_mm, strict=True)],
        )
    )
    return Problem(
        Reason.EXCEEDS_GRID,
        f"The lungs take {lung} mm (height, depth, width) and the model's grid holds {room} mm: this series"
        " needs a radiologist, or a model with a larger grid.",
    )
