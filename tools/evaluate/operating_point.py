"""What a threshold reaches, and which one reaches what is wanted. A score is flagged from there on."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

import numpy as np

from tools.evaluate.cases import Mask, Scores
from tools.evaluate.intervals import Proportion, proportion

Rate = Literal["sensitivity", "specificity"]


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """A rate is None where its class has no case."""

    threshold: float
    tp: int
    fn: int
    tn: int
    fp: int
    sensitivity: Proportion | None
    specificity: Proportion | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rate that is wanted, and what reaches it at the least cost of the other one: None if nothing does."""

    rate: Rate
    value: float
    reached: AtThreshold | None


def at_threshold(scores: Scores, positive: Mask, threshold: float) -> AtThreshold:
    flagged = scores >= threshold
    tp = int((flagged & positive).sum())
    fp = int((flagged & ~positive).sum())
    positives = int(positive.sum())
    negatives = positive.size - positives
    return AtThreshold(
        threshold,
        tp,
        positives - tp,
        negatives - fp,
        fp,
        proportion(tp, positives),
        proportion(negatives - fp, negatives),
    )


def reaching(scores: Scores, positive: Mask, rate: Rate, value: float) -> Wanted:
    """Thresholds between two neighbouring scores do the same; the one told is the shortest decimal there."""
    levels = np.unique(scores)
    if rate == "sensitivity":
        shares = np.searchsorted(np.sort(scores[positive]), levels, side="left") / positive.sum()
        # Rounding must not make 19 of 20 less than 0.95.
        good = np.flatnonzero(1 - shares >= value - 1e-12)
        index = int(good[-1])
    else:
        shares = np.searchsorted(np.sort(scores[~positive]), levels, side="left") / (~positive).sum()
        good = np.flatnonzero(shares >= value - 1e-12)
        if good.size:
            index = int(good[0])
        elif levels[-1] < 1:
            return Wanted(rate, value, at_threshold(scores, positive, _between(float(levels[-1]), 1.0)))
        else:
            return Wanted(rate, value, None)
    below = float(levels[index - 1]) if index else 0.0
    return Wanted(rate, value, at_threshold(scores, positive, _between(below, float(levels[index]))))


def _between(low: float, high: float) -> float:
    """The shortest decimal above `low` and not above `high`, of several the one nearest to their middle."""
    middle = (low + high) / 2
    for digits in range(1, 17):
        scale = 10**digits
        for candidate in (round(middle, digits), floor(high * scale) / scale, ceil(low * scale) / scale):
            if low < candidate <= high:
                return candidate
    return high
