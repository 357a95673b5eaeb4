"""What is asked for and what comes out: a chest by seed, and its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.floating[Any]]
Float32 = npt.NDArray[np.float32]
Int16 = npt.NDArray[np.int16]
Bool = npt.NDArray[np.bool_]

Kind = Literal["covid", "cap", "clear"]
Side = Literal["left", "right"]
Kernel = Literal["soft", "sharp"]

SLAB_MM = 1.0
"""The phantom is constant along z within slabs this thick; a slice is the average over its extent."""

STEP_MM = 0.25
"""Slice thicknesses are multiples of this."""


class PhantomError(ValueError):
    """A request that cannot be met; the message is one sentence with what to do."""


@dataclass(frozen=True)
class Chest:
    """A request for one patient's chest.

    The patient depends on `kind`, `seed`, `side` and `whiteout` alone; the other fields say how it is
    scanned. `side` puts every lesion in one lung, `whiteout` fills one whole lung at about 30 HU.
    `noise_hu` is the standard deviation in the middle of the body of a 1 mm slice of the soft kernel,
    the mark of the dose.

    Raises PhantomError when a field is out of its range.
    """

    kind: Kind
    seed: int
    slice_mm: float = 2.0
    matrix: int = 512
    fov_mm: float = 400.0
    side: Side | None = None
    whiteout: Side | None = None
    kernel: Kernel = "soft"
    noise_hu: float = 24.0

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("kind", self.kind, get_args(Kind)),
            ("side", self.side, (None, *get_args(Side))),
            ("whiteout", self.whiteout, (None, *get_args(Side))),
            ("kernel", self.kernel, get_args(Kernel)),
        ):
            if value not in allowed:
                names = ", ".join(choice for choice in allowed if choice)
                raise PhantomError(f"{name} is {value!r}: choose one of {names}.")
        if self.seed < 0:
            raise PhantomError(f"seed is {self.seed}: choose a whole number from 0.")
        if not (1.0 <= self.slice_mm <= 5.0 and (self.slice_mm / STEP_MM).is_integer()):
            raise PhantomError(
                f"slice thickness is {self.slice_mm:g} mm: choose a multiple of {STEP_MM} mm from 1 to 5 mm."
            )
        if not 64 <= self.matrix <= 512:
            raise PhantomError(f"matrix is {self.matrix}: choose 64 to 512 pixels.")
        if not 100.0 <= self.fov_mm <= 500.0:
            raise PhantomError(f"field of view is {self.fov_mm:g} mm: choose 100 to 500 mm.")
        if not 0.0 <= self.noise_hu <= 200.0:
            raise PhantomError(f"noise is {self.noise_hu:g} HU: choose 0 to 200 HU.")

    @property
    def pixel_mm(self) -> float:
        return self.fov_mm / self.matrix


@dataclass(frozen=True, eq=False)
class Phantom:
    """A chest as voxels in the patient frame (LPS): [z, y, x] to head, posterior and left.

    `hu` is int16 from -1024 to 3071, `lesions` the exact mask of the disease on the same grid, `spacing_mm`
    (z, y, x), and `origin_mm` the position (x, y, z) of the centre of voxel [0, 0, 0].
    """

    chest: Chest
    hu: Int16
    lesions: Bool
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    lung_ml: float
