"""From cases to every number of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from sklearn.metrics import roc_curve

from tools.evaluate.bootstrap import Band, Draws, auc_interval, roc_band
from tools.evaluate.calibration import Calibration, calibration
from tools.evaluate.cases import Cases, Mask, Scores
from tools.evaluate.delong import PairedTest, auc_with_interval, paired_test
from tools.evaluate.intervals import Interval, wald_over_total
from tools.evaluate.operating_point import AtThreshold, Rate, Wanted, at_threshold, reaching
from tools.evaluate.parts import (
    Part,
    against_all_negatives,
    by_negative_group,
    everything,
    subgroups_of_positives,
    within,
)
from tools.evaluate.readers import AgainstReader, Reader, against

FIXED: Final = tuple(number / 10 for number in range(1, 10))
"""The thresholds of the paper's Table 3."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for besides what is always told."""

    thresholds: tuple[float, ...] = (0.5,)
    wanted: tuple[tuple[Rate, float], ...] = ()
    subgroups: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    draws: Draws = field(default_factory=Draws)


@dataclass(frozen=True, slots=True)
class Auc:
    value: float
    delong: Interval | None
    bootstrap: Interval | None


@dataclass(frozen=True, slots=True)
class PaperIntervals:
    """As in Yao et al., who put both classes' total where the class's own number belongs: too narrow."""

    sensitivity: Interval | None
    specificity: Interval | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Positives against negatives, all or some. `auc` is None where one class has no case."""

    name: str
    positives: int
    negatives: int
    auc: Auc | None
    at: tuple[AtThreshold, ...]
    as_in_yao: tuple[PaperIntervals, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """The ROC curve, from the highest threshold down; the first point flags nothing and has no threshold."""

    false_positive_rate: tuple[float, ...]
    sensitivity: tuple[float, ...]
    thresholds: tuple[float | None, ...]
    band: Band | None


@dataclass(frozen=True, slots=True)
class FixedRow:
    """A row of the paper's Table 3; `tp_of` is by subgroup."""

    threshold: float
    tp: int
    tp_of: tuple[int, ...]
    tn: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """The paper's Table 3, with how many cases each column counts among."""

    positives: int
    negatives: int
    subgroups: tuple[tuple[str, int], ...]
    rows: tuple[FixedRow, ...]


@dataclass(frozen=True, slots=True)
class OtherModel:
    """Another model on the same cases: its curve, and DeLong's test of the two AUCs."""

    name: str
    test: PairedTest
    curve: Curve
    at: tuple[AtThreshold, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The first of the comparisons is of all cases."""

    comparisons: tuple[Comparison, ...]
    curve: Curve
    fixed: Fixed
    wanted: tuple[Wanted, ...]
    calibration: Calibration
    other: OtherModel | None
    readers: tuple[AgainstReader, ...]


def evaluate(
    cases: Cases,
    wishes: Wishes,
    readers: Sequence[Reader] = (),
    other: tuple[str, Scores] | None = None,
) -> Evaluation:
    """`other` is another model's name and scores. Raises WrongInput where a wish cannot be met."""
    subgroups = subgroups_of_positives(cases, wishes.subgroups)
    parts = [
        everything(cases),
        *by_negative_group(cases),
        *(against_all_negatives(cases, one) for one in subgroups),
        *within(cases, wishes.within),
    ]
    scores, positive = cases.scores, cases.positive
    return Evaluation(
        tuple(_comparison(cases, part, wishes) for part in parts),
        _curve(scores, positive, wishes.draws),
        _fixed(cases, subgroups),
        tuple(reaching(scores, positive, rate, value) for rate, value in wishes.wanted),
        calibration(scores, positive),
        _other(*other, cases, wishes) if other else None,
        tuple(against(one, scores, positive) for one in readers),
    )


def _comparison(cases: Cases, part: Part, wishes: Wishes) -> Comparison:
    scores, positive = cases.scores[part.mask], cases.positive[part.mask]
    positives = int(positive.sum())
    auc = None
    if 0 < positives < positive.size:
        auc = Auc(*auc_with_interval(scores, positive), auc_interval(scores, positive, wishes.draws))
    at = tuple(at_threshold(scores, positive, one) for one in wishes.thresholds)
    return Comparison(
        part.name, positives, positive.size - positives, auc, at, tuple(_as_in_yao(one) for one in at)
    )


def _as_in_yao(at: AtThreshold) -> PaperIntervals:
    total = at.tp + at.fn + at.tn + at.fp
    return PaperIntervals(
        *(
            wald_over_total(one.count, one.of, total) if one else None
            for one in (at.sensitivity, at.specificity)
        )
    )


def _curve(scores: Scores, positive: Mask, draws: Draws) -> Curve:
    false, sensitivity, thresholds = roc_curve(positive, scores)
    return Curve(
        tuple(np.asarray(false).tolist()),
        tuple(np.asarray(sensitivity).tolist()),
        (None, *np.asarray(thresholds)[1:].tolist()),
        roc_band(scores, positive, draws),
    )


def _fixed(cases: Cases, subgroups: Sequence[Part]) -> Fixed:
    negatives = ~cases.positive
    return Fixed(
        int(cases.positive.sum()),
        int(negatives.sum()),
        tuple((one.name, int(one.mask.sum())) for one in subgroups),
        tuple(
            FixedRow(
                threshold,
                int((cases.scores[cases.positive] >= threshold).sum()),
                tuple(int((cases.scores[one.mask] >= threshold).sum()) for one in subgroups),
                int((cases.scores[negatives] < threshold).sum()),
            )
            for threshold in FIXED
        ),
    )


def _other(name: str, scores: Scores, cases: Cases, wishes: Wishes) -> OtherModel:
    return OtherModel(
        name,
        paired_test(cases.scores, scores, cases.positive),
        _curve(scores, cases.positive, wishes.draws),
        tuple(at_threshold(scores, cases.positive, one) for one in wishes.thresholds),
    )
