"""Branching tubes in the lungs: arteries, veins and bronchi."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tools.phantom.anatomy import Anatomy
from tools.phantom.chest import Float32, Side
from tools.phantom.grid import Grid

Float64 = npt.NDArray[np.float64]
Tissue = Literal["vessel", "wall", "lumen"]

TARGET_SPACING_MM = 13.0
PLEURA_MM = 5.0
LEAF_RADIUS_MM = 0.55
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

    def thinner(self, by_mm: float, share: float) -> Tubes:
        return Tubes(self.start, self.end, np.maximum(self.radius - by_mm, self.radius * share))


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
    """All tubes of a patient. `central` ones run outside of the lungs too."""

    vessels: Tubes
    walls: Tubes
    lumina: Tubes
    central_vessels: Tubes
    central_walls: Tubes
    central_lumina: Tubes


def plant(anatomy: Anatomy, rng: np.random.Generator) -> Trees:
    """Grows the trees of both lungs from their hila."""
    vessels, bronchi, trunks, airways = [], [], [], []
    unit = anatomy.unit
    carina = anatomy.carina
    top = (0.0, 0.25 * anatomy.half_depth, anatomy.extent_mm + 10)
    airways.append(path([top, carina], [9.0 * unit]))
    trunk = (6.0 * unit, -0.18 * anatomy.half_depth, anatomy.z(0.60))
    for side, sign in (("left", 1), ("right", -1)):
        hilum = anatomy.hilum(side)  # type: ignore[arg-type]
        artery = tuple(np.add(hilum, (0, -4, 3)))
        vein = tuple(np.add(hilum, (0, -12, -14)))
        for root, straightness in ((artery, 0.35), (vein, 0.5)):
            tubes = Tubes(*grow(root, targets(anatomy, side, rng), straightness))  # type: ignore[arg-type]
            vessels.append(tubes)
            if root is artery:
                thick = tubes.radius > BRONCHUS_FROM_MM
                start, end, radius = tubes.start[thick], tubes.end[thick], tubes.radius[thick]
                beside = np.array([-0.35 * sign, 0.85, 0.4])
                beside = 1.9 * radius[:, None] * beside / np.linalg.norm(beside)
                bronchi.append(Tubes(start + beside, end + beside, np.minimum(radius, 3.2)))
        main = tuple(np.add(hilum, (-4 * sign, 4, 2)))
        airways.append(path([carina, main], [6.5 * unit]))  # type: ignore[list-item]
        trunks.append(path([trunk, artery], [9.5 * unit]))  # type: ignore[list-item]
        trunks.append(path([(14.0 * unit, -0.05 * anatomy.half_depth, anatomy.z(0.5)), vein], [7.0 * unit]))  # type: ignore[list-item]
        low = tuple(np.add(artery, (8 * sign, 14, -38)))
        trunks.append(path([artery, low], [6.0 * unit]))  # type: ignore[list-item]
    walls, central = joined(*bronchi), joined(*airways)
    return Trees(
        vessels=joined(*vessels),
        walls=walls,
        lumina=walls.thinner(0.8, 0.62),
        central_vessels=joined(*trunks),
        central_walls=Tubes(central.start, central.end, central.radius + 1.3),
        central_lumina=central,
    )


class Cover:
    """Which share of each sample of a slab some tubes fill, by counting evenly spread points in them."""

    def __init__(self, tubes: Tubes, grid: Grid, slabs: int, slab_mm: float) -> None:
        step = 0.45 * min(grid.sample_mm, slab_mm)
        axis = tubes.end - tubes.start
        length = np.linalg.norm(axis, axis=1)
        axis = axis / length[:, None]
        helper = np.where(np.abs(axis[:, 2:3]) < 0.8, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
        first = np.cross(axis, helper)
        first /= np.linalg.norm(first, axis=1)[:, None]
        second = np.cross(axis, first)

        along = np.ceil(length / step).astype(int)
        around = np.ceil(np.pi * tubes.radius**2 / step**2).astype(int)
        counts = along * around
        piece = np.repeat(np.arange(len(counts)), counts)
        index = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts)
        ring = index % around[piece]
        t = (index // around[piece] + 0.5) / along[piece] * length[piece]
        radius = tubes.radius[piece] * np.sqrt((ring + 0.5) / around[piece])
        angle = 2.399963 * ring + 1.7 * (index // around[piece])
        points = (
            tubes.start[piece]
            + axis[piece] * t[:, None]
            + first[piece] * (radius * np.cos(angle))[:, None]
            + second[piece] * (radius * np.sin(angle))[:, None]
        )
        share = np.pi * tubes.radius**2 * length / counts / (grid.sample_mm**2 * slab_mm)

        column = np.floor((points[:, 0] + grid.fov_mm / 2) / grid.sample_mm).astype(np.int64)
        row = np.floor((points[:, 1] + grid.fov_mm / 2) / grid.sample_mm).astype(np.int64)
        slab = np.floor(points[:, 2] / slab_mm).astype(np.int64)
        size = grid.samples
        kept = (column >= 0) & (column < size) & (row >= 0) & (row < size) & (slab >= 0) & (slab < slabs)
        order = np.argsort(slab[kept], kind="stable")
        self._size = size
        self._cell = (row[kept] * size + column[kept])[order]
        self._share = share[piece[kept]][order]
        self._bounds = np.searchsorted(slab[kept][order], np.arange(slabs + 1))

    def plane(self, slab: int) -> Float32:
        """The share 0 to 1 of each sample, [rows, columns]."""
        part = slice(self._bounds[slab], self._bounds[slab + 1])
        filled = np.bincount(self._cell[part], self._share[part], self._size**2)
        share: Float32 = np.minimum(filled * 1.05, 1).astype(np.float32).reshape(self._size, self._size)
        return share
