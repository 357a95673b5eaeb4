"""Random fields: the mottle of tissue and the noise of the scan."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from tools.phantom.chest import Field, Float32, Kernel

Interval = tuple[float, float]


def _cubic_weights(position: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.intp], Float32]:
    """Indices [n, 4] and weights [n, 4] of the uniform cubic B-spline at lattice positions."""
    first = np.floor(position).astype(np.intp)
    t = position - first
    weights = np.stack(
        [
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        ],
        axis=1,
    )
    return first[:, None] + np.arange(4), weights.astype(np.float32)


class SmoothField:
    """A smooth Gaussian random field of unit variance that varies over `scale_mm`.

    It belongs to the patient: the value at a point does not depend on how the point is sampled.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        scale_mm: float,
        box: tuple[Interval, Interval, Interval],
        y: Field,
        x: Field,
    ) -> None:
        """Covers the box of (z, y, x) intervals in mm; `y` and `x` are the rows and columns wanted, 1-d."""
        self._scale, self._low = scale_mm, box[0][0]
        shape = [int(np.ceil((high - low) / scale_mm)) + 5 for low, high in box]
        # The mean energy of the weights is 0.4792 an axis.
        self._lattice = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.4792**-1.5)
        self._rows = _cubic_weights((y.astype(np.float64) - box[1][0]) / scale_mm)
        self._columns = _cubic_weights((x.astype(np.float64) - box[2][0]) / scale_mm)

    def plane(self, z: float) -> Field:
        """The field at z (mm): [rows, columns]."""
        at, weights = _cubic_weights(np.array([(z - self._low) / self._scale]))
        sheet = np.einsum("k,kyx->yx", weights[0], self._lattice[at[0]])
        at, weights = self._columns
        sheet = sum(sheet[:, at[:, k]] * weights[:, k] for k in range(4))
        at, weights = self._rows
        plane: Field = sum(sheet[at[:, k]] * weights[:, k, None] for k in range(4))
        return plane


# Modulation transfer of the reconstruction kernels: 50 % in cycles/mm, and the lift of middle frequencies.
_HALF: dict[Kernel, tuple[float, float]] = {"soft": (0.38, 0.0), "sharp": (0.75, 0.35)}
_NOISE_GAIN: dict[Kernel, float] = {"soft": 1.0, "sharp": 2.0}


class Reconstruction:
    """What the scanner does to a slice: the kernel's blur, and noise with the kernel's power spectrum.

    Both are linear, so that averaging slices before or after makes no difference.
    """

    def __init__(self, kernel: Kernel, matrix: int, pixel_mm: float, noise_hu: float) -> None:
        self._matrix = matrix
        across, along = np.fft.rfftfreq(matrix, pixel_mm), np.fft.fftfreq(matrix, pixel_mm)
        frequency = np.hypot(along[:, None], across[None, :])
        half, lift = _HALF[kernel]
        transfer = np.exp(-np.log(2) * (frequency / half) ** 2) * (
            1 + lift * np.exp(-(((frequency - 0.4) / 0.2) ** 2)) - lift * np.exp(-4.0) * (frequency == 0)
        )
        self._transfer = (transfer / transfer[0, 0]).astype(np.float32)
        # Filtered back projection: the ramp times the kernel, with a little left at zero frequency.
        spectrum = (0.04 + frequency) * transfer
        whole = np.concatenate([spectrum, spectrum[:, 1 : (matrix + 1) // 2]], axis=1)
        gain = noise_hu * _NOISE_GAIN[kernel] / np.sqrt((whole**2).mean())
        self._spectrum = (spectrum * gain).astype(np.float32)
        centre = (np.arange(matrix) + 0.5) * pixel_mm - matrix * pixel_mm / 2
        distance2 = (centre[:, None] / 130) ** 2 + (centre[None, :] / 170) ** 2
        self._level = (0.35 + 0.65 * np.exp(-distance2)).astype(np.float32)

    def white(self, seed: int, slab: int) -> Float32:
        """The raw noise of one slab: unit variance, [matrix, matrix]."""
        return np.random.default_rng((seed, 0x5CA7, slab)).standard_normal(
            (self._matrix, self._matrix), dtype=np.float32
        )

    def __call__(self, density: Float32, white: Float32) -> Float32:
        """HU of a slice from its densities in HU and its raw noise, both [matrix, matrix]."""
        shape = (self._matrix, self._matrix)
        image = fft.irfft2(fft.rfft2(density) * self._transfer, shape)
        noise = fft.irfft2(fft.rfft2(white) * self._spectrum, shape)
        hu: Float32 = image + noise * self._level
        return hu
