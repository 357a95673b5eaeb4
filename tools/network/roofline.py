"""An estimate of the time that a GPU takes for a volume, from its data sheet: computed, never measured.

Each layer takes the time of its arithmetic or that of its traffic with the memory, whichever is longer, and
the volume takes the sum over its layers (the roofline model: Williams, Waterman, Patterson, Communications of
the ACM 52, 2009). It bounds nothing: an engine that fuses layers, or keeps what they hand on in the cache,
saves traffic, and one that does not reach a GPU's peak, which small layers never do, takes several times as
long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol


class Cost(Protocol):
    """What a layer costs for one volume, as `tools.network.summary.Layer` has it."""

    @property
    def multiply_adds(self) -> int: ...
    @property
    def bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU by its data sheet: `tera_flops` in FP16 on the tensor cores without sparsity, `giga_bytes_s` of
    its memory, both at peak."""

    name: str
    compute_capability: str
    tera_flops: float
    giga_bytes_s: float


CARDS: Final = (
    Card("RTX A2000 12 GB", "8.6", 31.9, 288),
    Card("RTX A4000", "8.6", 76.7, 448),
    Card("RTX A6000", "8.6", 154.8, 768),
    Card("RTX 2000 Ada", "8.9", 48.0, 224),
    Card("RTX 4000 Ada", "8.9", 81.9, 360),
    Card("RTX 6000 Ada", "8.9", 364.2, 960),
    Card("RTX PRO 6000 Blackwell", "12.0", 500.0, 1792),
)
"""Workstation GPUs. NVIDIA's sheets give tensor performance with sparsity, and from Ada on in FP8 or FP4:
half of it without sparsity, and half again for each step up to FP16."""


def estimate_ms(layers: Sequence[Cost], card: Card) -> float:
    """By the roofline, for one volume in milliseconds."""
    return sum(
        max(2 * one.multiply_adds / (card.tera_flops * 1e9), one.bytes / (card.giga_bytes_s * 1e6))
        for one in layers
    )
