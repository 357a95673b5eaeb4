"""Branching tubes in the lungs: arteries, veins and bronchi."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.phantom.anatomy import Anatomy
from tools.phantom.chest import SLAB_MM, Field, Float32, Side
from tools.phantom.grid import Grid

Float64 = npt.NDArray[np.float64]

TARGET_SPACING_MM = 12.0
PLEURA_MM = 5.0
LEAF_RADIUS_MM = 0.6
MURRAY = 2.7
"""Radii at a branching: parent^n = sum of children^n (Murray's law has 3 for ideal flow)."""
BRONCHUS_FROM_MM = 0.95
"""Radius of the artery from which on the bronchus beside it has a wall that is seen."""


@dataclass(frozen=True, eq=False)
class Tubes:
    """Straight pieces of tubes: `start` and `end` [n, 3] as (x, y, z), `radius` [n], mm."""

    start: Float64
    end: Float64
    radius: Float64


def joined(*parts: Tubes) -> Tubes:
    return Tubes(
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.end for part in parts]),
        np.concatenate([part.radius for part in parts]),
    )


def path(points: list[tuple[float, float, float]], radii: list[float]) -> Tubes:
    """A tube through points, with a radius for each piece."""
    nodes = np.array(points, float)
    return Tubes(nodes[:-1], nodes[1:], np.array(radii, float))


def targets(anatomy: Anatomy, side: Side, rng: np.random.Generator) -> Float64:
    """Points evenly spread in one lung, away from the pleura: [n, 3]."""
    step = TARGET_SPACING_MM
    edge = anatomy.half_width
    low, high = (0.0, edge) if side == "left" else (-edge, 0.0)
    lattice = np.stack(
        np.meshgrid(
            np.arange(low, high, step),
            np.arange(-anatomy.half_depth, anatomy.half_depth, step),
            np.arange(0, anatomy.extent_mm, step),
            indexing="ij",
        ),
        axis=-1,
    ).reshape(-1, 3)
    points = lattice + rng.uniform(-0.5, 0.5, lattice.shape) * step
    x, y, z = points.astype(np.float32).T
    inside: Float64 = points[anatomy.lung_depth(x, y, z) > PLEURA_MM]
    return inside


def grow(
    root: tuple[float, float, float], points: Float64, straightness: float = 0.35
) -> tuple[Float64, Float64, Float64]:
    """Connects every point to the root: the cheapest link first, where a long way to the root costs too.

    Returns start [n, 3], end [n, 3] and radius [n] of the pieces.
    """
    count = len(points)
    nodes = np.vstack([np.asarray(root, float)[None], points])
    length = np.zeros(count + 1)
    parent = np.zeros(count + 1, int)
    cost = np.linalg.norm(points - nodes[0], axis=1)
    order = []
    for _ in range(count):
        new = int(np.argmin(cost)) + 1
        order.append(new)
        cost[new - 1] = np.inf
        length[new] = length[parent[new]] + float(np.linalg.norm(nodes[new] - nodes[parent[new]]))
        distance = np.linalg.norm(points - nodes[new], axis=1) + straightness * length[new]
        nearer = (distance < cost) & np.isfinite(cost)
        parent[1:][nearer] = new
        cost = np.where(nearer, distance, cost)
    flow = np.full(count + 1, LEAF_RADIUS_MM**MURRAY)
    for node in reversed(order):
        flow[parent[node]] += flow[node]
    return nodes[parent[1:]], nodes[1:], flow[1:] ** (1 / MURRAY)


@dataclass(frozen=True, eq=False)
class Trees:
    """All tubes of a patient: blood vessels, the walls of the airways (with their lumina), and the lumina."""

    vessels: Tubes
    walls: Tubes
    lumina: Tubes


def plant(anatomy: Anatomy, rng: np.random.Generator) -> Trees:
    """Grows the trees of both lungs from their hila, and what joins them to the heart and the trachea."""
    unit, depth = anatomy.unit, anatomy.half_depth
    trunk, atrium = (6 * unit, -0.18 * depth, anatomy.z(0.60)), (14 * unit, -0.05 * depth, anatomy.z(0.5))
    vessels = []
    bronchi = []
    airways = [path([(0.0, 0.25 * depth, anatomy.extent_mm + 10), anatomy.carina], [9 * unit])]
    sides: tuple[tuple[Side, int], ...] = (("left", 1), ("right", -1))
    for side, sign in sides:
        x, y, z = anatomy.hilum(side)
        artery, vein = (x, y - 4, z + 3), (x, y - 12, z - 14)
        arteries = Tubes(*grow(artery, targets(anatomy, side, rng), straightness=0.35))
        veins = Tubes(*grow(vein, targets(anatomy, side, rng), straightness=0.5))
        vessels += [
            arteries,
            veins,
            path([trunk, artery, (x + 8 * sign, y + 10, z - 35)], [9.5 * unit, 6 * unit]),
            path([atrium, vein], [7 * unit]),
        ]
        thick = arteries.radius > BRONCHUS_FROM_MM
        beside = np.array([-0.35 * sign, 0.85, 0.4]) * 1.9 * arteries.radius[thick, None]
        bronchi.append(
            Tubes(
                arteries.start[thick] + beside,
                arteries.end[thick] + beside,
                np.minimum(arteries.radius[thick], 3.2),
            )
        )
        airways.append(path([anatomy.carina, (x - 4 * sign, y + 4, z + 2)], [6.5 * unit]))
    thin, wide = joined(*bronchi), joined(*airways)
    return Trees(
        vessels=joined(*vessels),
        walls=joined(thin, Tubes(wide.start, wide.end, wide.radius + 1.3)),
        lumina=joined(Tubes(thin.start, thin.end, np.maximum(thin.radius - 0.8, 0.62 * thin.radius)), wide),
    )


def _points_in(tubes: Tubes, step: float) -> tuple[Float32, Float32]:
    """Points evenly spread in the tubes [n, 3], about `step` mm apart, and the volume of each in mm3."""
    axis = tubes.end - tubes.start
    length = np.linalg.norm(axis, axis=1)
    axis = axis / length[:, None]
    helper = np.where(np.abs(axis[:, 2:3]) < 0.8, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
    first = np.cross(axis, helper)
    first /= np.linalg.norm(first, axis=1)[:, None]
    second = np.cross(axis, first)

    along = np.ceil(length / step).astype(np.int64)
    around = np.ceil(np.pi * tubes.radius**2 / step**2).astype(np.int64)
    counts = along * around
    piece = np.repeat(np.arange(len(counts)), counts)
    disc, ring = np.divmod(
        np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts), around[piece]
    )
    # Spread along the axis too: whole discs would beat against the slabs. 0.7549 is 1 / the plastic number.
    t = ((disc + ring * 0.7548776662 % 1) * (length / along)[piece]).astype(np.float32)
    radius = (
        np.sqrt(((ring + 0.5) / around[piece]).astype(np.float32)) * tubes.radius.astype(np.float32)[piece]
    )
    angle = (2.399963 * ring + 1.7 * disc).astype(np.float32)
    frame = np.stack([tubes.start, axis, first, second], axis=1).astype(np.float32)[piece]
    points = frame[:, 0] + frame[:, 1] * t[:, None]
    points += frame[:, 2] * (radius * np.cos(angle))[:, None]
    points += frame[:, 3] * (radius * np.sin(angle))[:, None]
    volume = (np.pi * tubes.radius**2 * length / counts).astype(np.float32)[piece]
    return points, volume


class Cover:
    """Which share of each sample of a slab some tubes fill, by counting evenly spread points in them."""

    def __init__(self, tubes: Tubes, grid: Grid, window: tuple[slice, slice], slabs: int) -> None:
        """`window` is the rows and columns that are wanted."""
        sample = grid.sample_mm**2 * SLAB_MM
        points, volume = _points_in(tubes, step=0.45 * sample ** (1 / 3))
        rows, columns = window
        self._shape = (rows.stop - rows.start, columns.stop - columns.start)
        half = grid.fov_mm / 2
        column = np.floor((points[:, 0] + half) / grid.sample_mm).astype(np.int64) - columns.start
        row = np.floor((points[:, 1] + half) / grid.sample_mm).astype(np.int64) - rows.start
        slab = np.floor(points[:, 2] / SLAB_MM).astype(np.int64)
        kept = (row >= 0) & (row < self._shape[0]) & (column >= 0) & (column < self._shape[1])
        kept &= (slab >= 0) & (slab < slabs)
        order = np.flatnonzero(kept)[np.argsort(slab[kept], kind="stable")]
        self._sample = (row * self._shape[1] + column)[order]
        self._share = volume[order] / np.float32(sample)
        self._bounds = np.searchsorted(slab[order], np.arange(slabs + 1))

    def plane(self, slab: int) -> Field:
        """The share 0 to 1 of each sample in the window."""
        part = slice(self._bounds[slab], self._bounds[slab + 1])
        filled = np.bincount(self._sample[part], self._share[part], self._shape[0] * self._shape[1])
        share: Field = np.minimum(filled * 1.1, 1).astype(np.float32).reshape(self._shape)
        return share
