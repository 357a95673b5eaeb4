"""Whether a score of 0.7 is right in seven of ten cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.metrics import brier_score_loss

from tools.evaluate.cases import Mask, Scores
from tools.evaluate.intervals import Proportion, proportion

BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Scores from `low` to below `high`: their mean, and how many of them are positive."""

    low: float
    high: float
    mean_score: float
    positive: Proportion


@dataclass(frozen=True, slots=True)
class Calibration:
    """`brier_of_prevalence` is the Brier score of telling the share of positives for every case."""

    brier: float
    brier_of_prevalence: float
    expected_error: float
    bins: tuple[Bin, ...]


def calibration(scores: Scores, positive: Mask) -> Calibration:
    """In ten bins of equal width; one without cases is left out."""
    share = float(positive.mean())
    # By division, so that 0.3 is the edge and not what three tenths add up to.
    edges = np.arange(BINS + 1) / BINS
    places = np.searchsorted(edges[1:-1], scores, side="right")
    bins = []
    for place in np.unique(places).tolist():
        inside = places == place
        found = proportion(int(positive[inside].sum()), int(inside.sum()))
        assert found is not None
        bins.append(Bin(float(edges[place]), float(edges[place + 1]), float(scores[inside].mean()), found))
    return Calibration(
        float(brier_score_loss(positive, scores)),
        share * (1 - share),
        sum(one.positive.of * abs(one.mean_score - one.positive.value) for one in bins) / scores.size,
        tuple(bins),
    )
