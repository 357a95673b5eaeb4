"""The two sizes of the network. No PyTorch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from engines.spec import Grid

Size = Literal["full", "edge"]


@dataclass(frozen=True, slots=True)
class Configuration:
    """`widths` are the channels of the four residual modules, `cross` those of the first atrous unit of
    sub-network 1 and of all others, `merged` what each sub-network hands on, `head` the two hidden layers.

    The grid spans at least 400 mm each way: 64 slices of 5 mm and 96 pixels of 3.75 mm cut real chests.
    """

    grid: Grid
    widths: tuple[int, int, int, int]
    cross: tuple[int, int]
    merged: int
    head: tuple[int, int]


CONFIGURATIONS: Final[dict[Size, Configuration]] = {
    "full": Configuration(
        Grid(size=(80, 192, 192), spacing_mm=(5.0, 2.1, 2.1)), (16, 32, 64, 128), (32, 64), 64, (64, 32)
    ),
    "edge": Configuration(
        Grid(size=(80, 128, 128), spacing_mm=(5.0, 3.2, 3.2)), (8, 16, 32, 64), (16, 32), 32, (64, 32)
    ),
}
