"""The variance of an AUC, and the test of two: DeLong, DeLong and Clarke-Pearson, Biometrics 1988;44:837-845.

By ranks, after Sun and Xu, IEEE Signal Processing Letters 2014;21:1389-1393, in n log n.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from tools.evaluate.cases import Mask, Scores
from tools.evaluate.intervals import Interval, Z, within_unit

_NOTHING: Final = 1e-15
"""A variance as small is rounding."""


@dataclass(frozen=True, slots=True)
class PairedTest:
    """`difference` is the first AUC less the second. Where it has no variance, there is no test."""

    first: float
    second: float
    difference: float
    interval: Interval | None
    z: float | None
    p: float | None


def auc_with_interval(scores: Scores, positive: Mask) -> tuple[float, Interval | None]:
    """No interval where the variance cannot be estimated: one case in a class, or placements all alike."""
    aucs, covariance = _aucs([scores], positive)
    variance = float(covariance[0, 0])
    auc = float(aucs[0])
    return auc, within_unit(auc, Z * sqrt(variance)) if variance > _NOTHING else None


def paired_test(first: Scores, second: Scores, positive: Mask) -> PairedTest:
    """Two models on the same cases; two-sided."""
    aucs, covariance = _aucs([first, second], positive)
    difference = float(aucs[0] - aucs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if not variance > _NOTHING:
        return PairedTest(float(aucs[0]), float(aucs[1]), difference, None, None, None)
    error = sqrt(variance)
    z = difference / error
    interval = Interval(max(-1.0, difference - Z * error), min(1.0, difference + Z * error))
    return PairedTest(float(aucs[0]), float(aucs[1]), difference, interval, z, float(2 * norm.sf(abs(z))))


def _aucs(models: list[Scores], positive: Mask) -> tuple[Scores, NDArray[np.float64]]:
    """The AUC of each model and their covariance matrix, NaN where a class has one case."""
    placements = [_placements(scores, positive) for scores in models]
    of_positives = np.array([one for one, _ in placements])
    of_negatives = np.array([one for _, one in placements])
    size = len(models)
    if min(of_positives.shape[1], of_negatives.shape[1]) < 2:
        covariance = np.full((size, size), np.nan)
    else:
        covariance = sum(
            np.cov(one).reshape(size, size) / one.shape[1] for one in (of_positives, of_negatives)
        )
    return of_positives.mean(axis=1), np.asarray(covariance)


def _placements(scores: Scores, positive: Mask) -> tuple[Scores, Scores]:
    """Of each positive the share of negatives below, of each negative that of positives above; ties half."""
    positives, negatives = scores[positive], scores[~positive]
    among_all = rankdata(np.concatenate((positives, negatives)))
    below = (among_all[: positives.size] - rankdata(positives)) / negatives.size
    above = 1 - (among_all[positives.size :] - rankdata(negatives)) / positives.size
    return below, above
