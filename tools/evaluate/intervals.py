"""Proportions with their 95 % confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

from scipy.stats import binomtest, norm

LEVEL: Final = 0.95
Z: Final = float(norm.ppf((1 + LEVEL) / 2))


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Proportion:
    """`count` of `of`, with the intervals of Wilson and of Clopper and Pearson."""

    count: int
    of: int
    value: float
    wilson: Interval
    clopper_pearson: Interval


def proportion(count: int, of: int) -> Proportion | None:
    """None of none is no proportion."""
    if of == 0:
        return None
    test = binomtest(count, of)
    wilson, exact = (test.proportion_ci(LEVEL, method) for method in ("wilson", "exact"))
    return Proportion(
        count,
        of,
        count / of,
        Interval(float(wilson.low), float(wilson.high)),
        Interval(float(exact.low), float(exact.high)),
    )


def within_unit(middle: float, half: float) -> Interval:
    """Around the middle, cut off where no proportion or AUC can be."""
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def wald_over_total(count: int, of: int, total: int) -> Interval:
    """The intervals of Yao et al.: Wald's, with both classes' `total` in place of the own class's `of`.

    They are too narrow, and here to be compared with the paper's alone.
    """
    share = count / of
    return within_unit(share, Z * sqrt(share * (1 - share) / total))
