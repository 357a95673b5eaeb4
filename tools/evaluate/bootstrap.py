"""Intervals by drawing cases again, from each class as many as it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, rankdata

from tools.evaluate.cases import Mask, Scores
from tools.evaluate.intervals import LEVEL, Interval

_NUMBERS_AT_ONCE: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Draws:
    """The same seed gives the same intervals."""

    resamples: int = 2000
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Band:
    """Around a ROC curve, pointwise: the interval of the sensitivity at each share of false positives."""

    false_positive_rate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def auc_interval(scores: Scores, positive: Mask, draws: Draws) -> Interval | None:
    """Percentiles; None where a class has one case or every draw gives the same."""
    classes = scores[positive], scores[~positive]
    if min(one.size for one in classes) < 2:
        return None
    found = bootstrap(
        classes,
        _auc,
        n_resamples=draws.resamples,
        batch=max(1, _NUMBERS_AT_ONCE // scores.size),
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(draws.seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high)) if found.high > found.low else None


def _auc(positives: NDArray[Any], negatives: NDArray[Any], axis: int = -1) -> NDArray[np.float64]:
    """Mann and Whitney's statistic, by ranks."""
    several, others = positives.shape[axis], negatives.shape[axis]
    ranks = rankdata(np.concatenate((positives, negatives), axis=axis), axis=axis)
    own = np.take(ranks, range(several), axis=axis).sum(axis=axis)
    return np.asarray((own - several * (several + 1) / 2) / (several * others))


def roc_band(scores: Scores, positive: Mask, draws: Draws, points: int = 101) -> Band | None:
    """None where a class has one case."""
    if min(positive.sum(), (~positive).sum()) < 2:
        return None
    rng = np.random.default_rng(draws.seed)
    levels, place = np.unique(scores, return_inverse=True)
    grid = np.linspace(0, 1, points)
    curves = np.empty((draws.resamples, points))
    for number in range(draws.resamples):
        sensitivity, false = (_cumulated(rng, place[mask], levels.size) for mask in (positive, ~positive))
        curves[number] = np.interp(grid, false, sensitivity)
    low, high = np.quantile(curves, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return Band(tuple(grid.tolist()), tuple(low.tolist()), tuple(high.tolist()))


def _cumulated(rng: np.random.Generator, places: NDArray[np.intp], levels: int) -> Scores:
    """The share of one class, drawn again, at or above each level of score, from the highest down."""
    counts = np.bincount(rng.choice(places, places.size), minlength=levels)
    return np.concatenate(([0.0], counts[::-1].cumsum() / places.size))
