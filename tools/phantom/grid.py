"""The sample points of one scan, in the patient's coordinates of `anatomy`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tools.phantom.chest import Field, Float32

FINEST_SAMPLE_MM = 2.1
"""Pixels larger than this are averaged from smaller samples, so that thin structures keep their density."""


@dataclass(frozen=True)
class Grid:
    """Samples in plane: `factor` x `factor` of them make a pixel. Sizes in mm."""

    matrix: int
    factor: int
    fov_mm: float

    @classmethod
    def of(cls, matrix: int, fov_mm: float) -> Grid:
        return cls(matrix, max(1, int(np.ceil(fov_mm / matrix / FINEST_SAMPLE_MM))), fov_mm)

    @property
    def samples(self) -> int:
        return self.matrix * self.factor

    @property
    def sample_mm(self) -> float:
        return self.fov_mm / self.samples

    @cached_property
    def axis(self) -> Float32:
        """x of the columns and y of the rows, in mm from the body's axis."""
        axis: Float32 = ((np.arange(self.samples) + 0.5) * self.sample_mm - self.fov_mm / 2).astype(
            np.float32
        )
        return axis

    @property
    def x(self) -> Float32:
        return self.axis[None, :]

    @property
    def y(self) -> Float32:
        return self.axis[:, None]

    def window(self, low: float, high: float) -> slice:
        """The samples from `low` to `high` mm along either axis."""
        first = int(np.floor((low + self.fov_mm / 2) / self.sample_mm))
        last = int(np.ceil((high + self.fov_mm / 2) / self.sample_mm))
        return slice(min(max(first, 0), self.samples), min(max(last, 0), self.samples))

    def coverage(self, depth: Field) -> Field:
        """How much of a sample lies inside of a surface at this depth (mm): 0 to 1."""
        share: Field = np.clip(depth * (1 / self.sample_mm) + 0.5, 0, 1)
        return share

    def pixels(self, samples: Float32) -> Float32:
        """Averages [samples, samples] to [matrix, matrix]."""
        if self.factor == 1:
            return samples
        rows: Float32 = np.add.reduce([samples[k :: self.factor] for k in range(self.factor)])
        total: Float32 = np.add.reduce([rows[:, k :: self.factor] for k in range(self.factor)])
        return total * np.float32(1 / self.factor**2)
