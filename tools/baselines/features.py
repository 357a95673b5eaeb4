"""Lung density in numbers, from a volume on a model's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from appliance.records import Float32

AIR_HU: Final = -400.0
GAS_HU: Final = -960.0
"""What is emptier is a windpipe, not lung."""

GROUND_GLASS_HU: Final = (-750.0, -300.0)
BANDS_HU: Final = (-960.0, -900.0, -850.0, -800.0, -750.0, -700.0, -600.0, -500.0, -300.0, 0.0, 200.0)
SMALLEST_ML: Final = 100.0
CLOSING_MM: Final = 12.0
"""Vessels, and consolidation no thicker than about twice this, count as lung; a whole lobe does not."""

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LungDensity:
    """`mean_hu` over the lungs, `ground_glass` their share from -750 to -300 HU, `bands` the share of each
    band of `BANDS_HU`, `lung_ml` their volume. Without lung all of it is 0."""

    mean_hu: float
    ground_glass: float
    bands: tuple[float, ...]
    lung_ml: float


def lungs(hu: Float32, spacing_mm: tuple[float, float, float]) -> Bool:
    """The lungs [D, H, W], consolidations and vessels at their border in them."""
    labels, count = ndimage.label(hu < AIR_HU)
    outside = np.unique(np.concatenate([labels[:, [0, -1]].ravel(), labels[:, :, [0, -1]].ravel()]))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[outside] = sizes[0] = 0
    enough = sizes * np.prod(spacing_mm) / 1000 >= SMALLEST_ML
    found: Bool = enough[labels]
    across = [round(CLOSING_MM / spacing) for spacing in spacing_mm[1:]]
    rows, columns = np.ogrid[-across[0] : across[0] + 1, -across[1] : across[1] + 1]
    disc = (rows / across[0]) ** 2 + (columns / across[1]) ** 2 <= 1
    for place in np.flatnonzero(found.any((1, 2))):
        found[place] |= ndimage.binary_fill_holes(ndimage.binary_closing(found[place], disc))
    return found


def lung_density(hu: Float32, spacing_mm: tuple[float, float, float]) -> LungDensity:
    """Measures a volume [D, H, W] in HU with voxels of this size (z, y, x)."""
    inside = hu[lungs(hu, spacing_mm)]
    inside = inside[inside > GAS_HU]
    if not inside.size:
        return LungDensity(0.0, 0.0, (0.0,) * (len(BANDS_HU) - 1), 0.0)
    low, high = GROUND_GLASS_HU
    shares = np.histogram(inside, BANDS_HU)[0] / inside.size
    return LungDensity(
        mean_hu=float(inside.mean(dtype=np.float64)),
        ground_glass=float(((inside >= low) & (inside < high)).mean()),
        bands=tuple(float(share) for share in shares),
        lung_ml=float(inside.size * np.prod(spacing_mm) / 1000),
    )
