"""Crops of volumes with the lesions in them, drawn by a seed. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from appliance.records import Float32
from tools.dataset.volumes import Float16, Made
from tools.problem import WrongInput
from tools.train.recipe import CROP

LUNG_HU: Final = (-930.0, -600.0)
TRIES: Final = 50
OFFSET_HU: Final = 20.0
"""No two scanners are calibrated alike."""

SHARES: Final = (0.42, 0.21)
"""Of crops around a lesion that is to be flagged, and around another one; the rest is any lung."""


@dataclass(frozen=True, slots=True)
class Crops:
    """`hu`, and `lesions`, their share of each voxel: [n, 1, *CROP]. `positive` [n]: the case's label."""

    hu: Float32
    lesions: Float32
    positive: npt.NDArray[np.bool_]


class Cropper:
    """Draws crops from cases of which some have masks."""

    def __init__(self, cases: Sequence[Made]) -> None:
        """Raises WrongInput where no positive case has a mask with a lesion."""
        self._any = cases
        with_lesions = [one for one in cases if _has_lesions(one)]
        self._flagged = [one for one in with_lesions if one.case.label]
        self._other = [one for one in with_lesions if not one.case.label]
        if not self._flagged:
            raise WrongInput(
                "The curriculum crops around lesions, and no positive case of the data set has a mask"
                " with a lesion in it: put NAME.mask.npz beside the series, or train with --method paper."
            )

    def draw(self, rng: np.random.Generator, count: int) -> Crops:
        flagged = round(SHARES[0] * count)
        other = round(SHARES[1] * count) if self._other else 0
        drawn = []
        for place in range(count):
            among: Sequence[Made]
            if place < flagged:
                among = self._flagged
            elif place < flagged + other:
                among = self._other
            else:
                among = self._any
            one = among[int(rng.integers(len(among)))]
            hu, lesions = one.hu(), one.lesions()
            if lesions is not None and place < flagged + other:
                centre = _in_a_lesion(lesions, rng)
            else:
                centre = _in_lung(hu, rng)
            window = _around(centre, hu.shape, rng)
            share = np.zeros(CROP, np.float32)
            if lesions is not None:
                share += lesions[window] / np.float32(255)
            drawn.append((*_reversed(hu[window].astype(np.float32), share, rng), bool(one.case.label)))
        hus, shares, positive = zip(*drawn, strict=True)
        offsets = rng.uniform(-OFFSET_HU, OFFSET_HU, (count, 1, 1, 1, 1)).astype(np.float32)
        return Crops(np.stack(hus)[:, None] + offsets, np.stack(shares)[:, None], np.array(positive))


def _has_lesions(one: Made) -> bool:
    lesions = one.lesions()
    return lesions is not None and bool((lesions > 0).any())


def _in_a_lesion(lesions: npt.NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, ...]:
    places = np.flatnonzero(lesions > min(127, int(lesions.max()) - 1))
    place = np.unravel_index(int(places[rng.integers(places.size)]), lesions.shape)
    return tuple(int(index) for index in place)


def _in_lung(hu: Float16, rng: np.random.Generator) -> tuple[int, ...]:
    """A voxel whose neighbourhood is as dense as lung; any one where none is found."""
    place: tuple[int, ...] = tuple(extent // 2 for extent in hu.shape)
    for _ in range(TRIES):
        place = tuple(int(rng.integers(1, extent - 1)) for extent in hu.shape)
        around = hu[tuple(slice(index - 1, index + 2) for index in place)]
        if LUNG_HU[0] < float(around.mean(dtype=np.float32)) < LUNG_HU[1]:
            break
    return place


def _around(centre: tuple[int, ...], shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, ...]:
    """A window that holds the centre anywhere but at its rim."""
    window = []
    for index, extent, whole in zip(centre, CROP, shape, strict=True):
        reach = extent * 3 // 8
        start = index - extent // 2 + int(rng.integers(-reach, reach + 1))
        start = min(max(start, 0), whole - extent)
        window.append(slice(start, start + extent))
    return tuple(window)


def _reversed(hu: Float32, share: Float32, rng: np.random.Generator) -> tuple[Float32, Float32]:
    steps = tuple(slice(None, None, int(rng.choice((-1, 1)))) for _ in CROP)
    return hu[steps], share[steps]
