"""Area-weighted resampling: what a cell of the new grid covers, it averages, in millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import sparse

from appliance.records import Float32

Weights = sparse.csr_array[np.float64, tuple[int, int]]


def area_weights(edges: npt.NDArray[np.float64], cells: npt.NDArray[np.float64]) -> Weights:
    """Weights [cells, samples] from the overlap of samples with cells, both given by ascending edges in mm.

    Each row is the mean over the part of its cell that samples cover, and is empty where none do.
    """
    low = np.maximum(edges[None, :-1], cells[:-1, None])
    high = np.minimum(edges[None, 1:], cells[1:, None])
    overlap = high - low
    overlap[overlap < 1e-6 * min(np.diff(edges).min(), np.diff(cells).min())] = 0
    covered = overlap.sum(axis=1, keepdims=True)
    weights = np.divide(overlap, covered, out=overlap, where=covered > 0)
    return sparse.csr_array(weights)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an image, centred: `count` samples of `spacing` mm, onto `cells` of `cell` mm."""

    count: int
    spacing: float
    cells: int
    cell: float


def covering(count: int, spacing: float, cell: float, parity: int) -> Axis:
    """The axis whose cells cover the whole image, their number being as odd or even as `parity`."""
    cells = max(1, math.ceil(count * spacing / cell - 1e-6))
    return Axis(count, spacing, cells + (cells + parity) % 2, cell)


@lru_cache(maxsize=64)
def _centred_weights(axis: Axis) -> Weights:
    return area_weights(_edges(axis.count, axis.spacing), _edges(axis.cells, axis.cell))


def _edges(count: int, spacing: float) -> npt.NDArray[np.float64]:
    return (np.arange(count + 1, dtype=np.float64) - count / 2) * spacing


def resample(image: npt.NDArray[np.float64], rows: Axis, columns: Axis) -> Float32:
    """An image [rows, columns] on the cells of both axes, which lie symmetrically about its centre.

    Sums are taken in float64, so that turning the image over changes no float32 result by more than its last
    bit.
    """
    along_rows = _centred_weights(rows) @ image
    return np.ascontiguousarray((_centred_weights(columns) @ along_rows.T).T, np.float32)
