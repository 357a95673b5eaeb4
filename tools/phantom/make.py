"""From a request to voxels: slabs are painted once and averaged to slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from tools.phantom.anatomy import anatomy_of
from tools.phantom.chest import SLAB_MM, Chest, Phantom
from tools.phantom.grid import Grid
from tools.phantom.lesions import DiseaseRanges, draw
from tools.phantom.mimics import Mimics, draw_mimics, smeared
from tools.phantom.paint import Painter
from tools.phantom.patient import Patient
from tools.phantom.texture import Reconstruction
from tools.phantom.trees import plant


def _share(slab: int, slices: int, slice_mm: float) -> Iterator[tuple[int, float]]:
    """The slices that a slab lies in, and which part of each slice it makes up."""
    low, high = slab * SLAB_MM, (slab + 1) * SLAB_MM
    for index in range(int(low // slice_mm), min(int(-(-high // slice_mm)), slices)):
        overlap = min(high, (index + 1) * slice_mm) - max(low, index * slice_mm)
        if overlap > 0:
            yield index, overlap / slice_mm


def make_chest(
    chest: Chest,
    ranges: DiseaseRanges | None = None,
    progress: Callable[[float], None] | None = None,
    mimics: Mimics | None = None,
) -> Phantom:
    """The chest of one seed; `progress` hears of the share that is done.

    The same seed in slices of 1, 2.5 and 5 mm is the same patient in the same scan: averaged to 5 mm they
    agree to rounding.
    """
    branching, disease, tissue, place, beside = (
        np.random.default_rng((chest.seed, 0xBEEF, part)) for part in range(5)
    )
    mimics = mimics or Mimics()
    anatomy = anatomy_of(chest.seed)
    lesions = draw(chest, anatomy, ranges or DiseaseRanges(), disease)
    others = draw_mimics(mimics, anatomy, beside)
    patient = Patient(anatomy, plant(anatomy, branching), lesions, chest.whiteout, mimics, others)
    grid = Grid.of(chest.matrix, chest.fov_mm)
    painter = Painter(patient, grid, tissue)
    scan = Reconstruction(chest.kernel, chest.matrix, chest.pixel_mm, chest.noise_hu)

    slices = int(painter.slabs * SLAB_MM // chest.slice_mm)
    hu = np.empty((slices, chest.matrix, chest.matrix), np.int16)
    mask = np.empty(hu.shape, np.bool_)
    open_slices: dict[int, list[npt.NDArray[np.float32]]] = {}
    lung_mm3 = 0.0
    for slab in range(painter.slabs):
        density, diseased, area = painter.slab(slab)
        if mimics.motion_mm:
            density = smeared(density, grid, anatomy, mimics.motion_mm, (slab + 0.5) * SLAB_MM)
        planes = grid.pixels(density), grid.pixels(diseased), scan.white(chest.seed, slab)
        lung_mm3 += area * SLAB_MM
        if progress:
            progress((slab + 1) / painter.slabs)
        for index, share in _share(slab, slices, chest.slice_mm):
            sums = open_slices.setdefault(index, [np.zeros_like(plane) for plane in planes])
            for total, plane in zip(sums, planes, strict=True):
                np.add(total, np.float32(share) * plane, out=total)
            if (slab + 1) * SLAB_MM >= (index + 1) * chest.slice_mm:
                finished, shares, white = open_slices.pop(index)
                hu[index] = np.clip(np.rint(scan(finished, white)), -1024, 3071)
                mask[index] = shares >= 0.5 - 1e-4

    isocentre = (
        round(place.uniform(-12, 12)),
        round(place.uniform(-170, -130)),
        round(place.uniform(-420, -220)),
    )
    pixel = chest.pixel_mm
    corner = pixel / 2 - chest.fov_mm / 2
    return Phantom(
        chest=chest,
        hu=hu,
        lesions=mask,
        spacing_mm=(chest.slice_mm, pixel, pixel),
        origin_mm=(isocentre[0] + corner, isocentre[1] + corner, isocentre[2] + chest.slice_mm / 2),
        lung_ml=lung_mm3 / 1000,
    )
