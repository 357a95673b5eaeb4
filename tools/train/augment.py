"""The paper's augmentations of whole volumes: scaling, reversal, rotation."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SCALES: Final = (0.9, 1.1)
DEGREES: Final = 15.0
AIR_HU: Final = -1024.0
"""What comes in from outside of the volume, as where the model grid exceeds the scan."""


def augmented(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Volumes [n, 1, D, H, W], each scaled, turned about the body's axis, and reversed left to right and
    front to back or not. Rows and columns must be as many: the turn is one in millimetres then."""
    count = hu.shape[0]
    scale = rng.uniform(*SCALES, count)
    angle = np.radians(rng.uniform(-DEGREES, DEGREES, count))
    across, along = rng.choice((-1.0, 1.0), (2, count))
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    # Rows of a transform give x, y and z in the volume for a place in the result.
    place = np.zeros((count, 3, 4), np.float32)
    place[:, 0, 0], place[:, 0, 1] = across * cosine, -across * sine
    place[:, 1, 0], place[:, 1, 1] = along * sine, along * cosine
    place[:, 2, 2] = 1 / scale
    grid = functional.affine_grid(torch.from_numpy(place).to(hu.device), list(hu.shape), align_corners=False)
    return functional.grid_sample(hu - AIR_HU, grid, align_corners=False) + AIR_HU
