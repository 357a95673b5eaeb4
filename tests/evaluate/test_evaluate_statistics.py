"""Intervals, operating points and calibration, against published numbers and other implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score

from tools.evaluate.bootstrap import Draws, _auc, auc_interval, roc_band
from tools.evaluate.calibration import calibration
from tools.evaluate.delong import auc_with_interval
from tools.evaluate.intervals import proportion, wald_over_total
from tools.evaluate.operating_point import at_threshold, reaching


@pytest.mark.parametrize(
    ("count", "of", "wilson", "clopper_pearson"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0000, 0.1611), (0.0000, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_the_examples_of_newcombe(
    count: int, of: int, wilson: tuple[float, float], clopper_pearson: tuple[float, float]
) -> None:
    """Newcombe, Statistics in Medicine 1998;17:857-872, table I, methods 3 and 5."""
    found = proportion(count, of)
    assert found is not None
    assert (found.wilson.low, found.wilson.high) == pytest.approx(wilson, abs=5e-5)
    assert (found.clopper_pearson.low, found.clopper_pearson.high) == pytest.approx(clopper_pearson, abs=5e-5)


def test_none_of_none_is_no_proportion() -> None:
    assert proportion(0, 0) is None


PAPER = {
    "S1 against S2 and S3, sensitivity": (195, 213, 549, 89.2, 93.9),
    "S1 against S2 and S3, specificity": (304, 336, 549, 88.0, 92.9),
    "S1 against S2, sensitivity": (198, 213, 375, 90.4, 95.6),
    "S1 against S2, specificity": (151, 162, 375, 90.7, 95.8),
    "S1 against S3, sensitivity": (193, 213, 387, 87.9, 93.3),
    "S1 against S3, specificity": (152, 174, 387, 84.0, 90.7),
    "first RT-PCR positive, sensitivity": (122, 132, 468, 90.0, 94.8),
    "first RT-PCR positive, specificity": (305, 336, 468, 88.2, 93.4),
    "first RT-PCR negative, sensitivity": (73, 81, 417, 87.2, 93.0),
    "first RT-PCR negative, specificity": (304, 336, 417, 87.7, 93.3),
}


def test_the_papers_intervals_are_walds_over_the_total() -> None:
    """Seven of ten as printed, two within 0.1, and one that no rounding explains."""
    exact, near, far = [], [], []
    for name, (count, of, total, low, high) in PAPER.items():
        found = wald_over_total(count, of, total)
        apart = [
            round(abs(round(100 * one, 1) - two), 1) for one, two in ((found.low, low), (found.high, high))
        ]
        (exact if max(apart) == 0 else near if max(apart) <= 0.1 else far).append(name)
    assert (len(exact), len(near), far) == (7, 2, ["S1 against S3, sensitivity"])
    differs = wald_over_total(*PAPER["S1 against S3, sensitivity"][:3])
    assert (round(100 * differs.low, 1), round(100 * differs.high, 1)) == (87.7, 93.5)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_intervals_are_narrower_than_wilsons(name: str) -> None:
    count, of, total, _, _ = PAPER[name]
    own, theirs = proportion(count, of), wald_over_total(count, of, total)
    assert own is not None
    assert own.wilson.high - own.wilson.low > theirs.high - theirs.low


def test_an_interval_ends_where_proportions_do() -> None:
    assert wald_over_total(20, 21, 30).high == 1


def normal_scores(seed: int, positives: int, negatives: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = np.arange(positives + negatives) < positives
    return norm.cdf(rng.normal(1.2 * positive, 1.0)), positive


def test_the_bootstrap_agrees_with_delong_and_repeats() -> None:
    scores, positive = normal_scores(1, 150, 200)
    _, delong = auc_with_interval(scores, positive)
    found = auc_interval(scores, positive, Draws(1000, 3))
    assert delong is not None
    assert found is not None
    assert (found.low, found.high) == pytest.approx((delong.low, delong.high), abs=0.01)
    assert auc_interval(scores, positive, Draws(1000, 3)) == found
    assert auc_interval(scores, positive, Draws(1000, 4)) != found


def test_the_bootstrap_draws_aucs() -> None:
    scores, positive = normal_scores(3, 12, 17)
    auc = _auc(scores[positive][np.newaxis], scores[~positive][np.newaxis])
    assert auc.tolist() == pytest.approx([roc_auc_score(positive, scores)])


def test_the_bootstrap_counts_ties_half() -> None:
    scores, positive = normal_scores(2, 40, 40)
    rough = np.round(scores, 1)
    found = auc_interval(rough, positive, Draws(500, 1))
    assert found is not None
    assert found.low < roc_auc_score(positive, rough) < found.high


def test_the_band_lies_around_the_curve() -> None:
    scores, positive = normal_scores(1, 150, 200)
    band = roc_band(scores, positive, Draws(300, 1))
    assert band is not None
    at = band.false_positive_rate.index(0.2)
    sensitivity = (scores[positive] > np.quantile(scores[~positive], 0.8)).mean()
    assert band.low[at] < sensitivity < band.high[at]
    assert band.high[at] - band.low[at] == pytest.approx(
        4 * (sensitivity * (1 - sensitivity) / 150) ** 0.5, rel=0.5
    )


def test_one_case_in_a_class_has_neither() -> None:
    scores, positive = np.array([0.1, 0.2, 0.9]), np.array([False, False, True])
    assert auc_interval(scores, positive, Draws(100)) is None
    assert roc_band(scores, positive, Draws(100)) is None


def test_a_score_at_the_threshold_is_flagged() -> None:
    found = at_threshold(np.array([0.4, 0.5, 0.5, 0.6]), np.array([True, True, False, False]), 0.5)
    assert (found.tp, found.fn, found.tn, found.fp) == (1, 1, 0, 2)


@pytest.mark.parametrize("digits", [2, 12])
@pytest.mark.parametrize("rate", ["sensitivity", "specificity"])
@pytest.mark.parametrize("value", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_no_other_threshold_does_better(rate: str, value: float, digits: int) -> None:
    """Against every threshold that makes a difference."""
    scores, positive = normal_scores(4, 40, 60)
    scores = np.round(scores, digits) * 0.98
    assert rate in ("sensitivity", "specificity")
    found = reaching(scores, positive, rate, value).reached
    assert found is not None
    reached = found.sensitivity, found.specificity
    every = [0.0, *np.unique(scores), 1.0]
    rates = [((scores[positive] >= one).mean(), (scores[~positive] < one).mean()) for one in every]
    first, second = (0, 1) if rate == "sensitivity" else (1, 0)
    ours, theirs = reached[first], reached[second]
    assert ours is not None
    assert theirs is not None
    assert ours.value >= value
    assert theirs.value == max(one[second] for one in rates if one[first] >= value)


def test_nineteen_of_twenty_are_95_percent() -> None:
    scores = np.array([0.1, *[0.6] * 19, 0.3, 0.2])
    positive = np.arange(22) < 20
    found = reaching(scores, positive, "sensitivity", 0.95).reached
    assert found is not None
    assert (found.tp, found.tn, found.threshold) == (19, 2, 0.4)


def test_one_of_ten_is_a_tenth() -> None:
    """1 - 0.9 is less than 0.1 in binary."""
    scores, positive = np.array([*[0.2] * 9, 0.8, 0.5]), np.arange(11) < 10
    found = reaching(scores, positive, "sensitivity", 0.1).reached
    assert found is not None
    assert (found.tp, found.tn) == (1, 1)


def test_a_threshold_is_no_longer_than_it_must_be() -> None:
    scores, positive = np.array([0.123456, 0.234567, 0.76, 0.77]), np.array([False, False, True, True])
    found = reaching(scores, positive, "sensitivity", 1.0).reached
    assert found is not None
    assert found.threshold == 0.5


def test_a_negative_with_the_highest_score_possible_leaves_no_full_specificity() -> None:
    scores, positive = np.array([0.2, 1.0, 0.7]), np.array([False, False, True])
    assert reaching(scores, positive, "specificity", 1.0).reached is None
    assert reaching(scores, positive, "specificity", 0.5).reached is not None


def test_calibration_is_that_of_scikit_learn() -> None:
    scores, positive = normal_scores(6, 200, 300)
    found = calibration(scores, positive)
    share, mean = calibration_curve(positive, scores, n_bins=10)
    assert [one.positive.value for one in found.bins] == pytest.approx(share.tolist())
    assert [one.mean_score for one in found.bins] == pytest.approx(mean.tolist())
    assert found.brier == pytest.approx(((scores - positive) ** 2).mean())
    assert sum(one.positive.of for one in found.bins) == 500


def test_calibration_by_hand() -> None:
    """Two bins, each 0.1 off; a score on an edge belongs above it."""
    scores = np.array([0.3, 0.3, 0.3, 0.3, 0.3, 1.0])
    positive = np.array([True, True, False, False, False, True])
    found = calibration(scores, positive)
    assert [(one.low, one.positive.count, one.positive.of) for one in found.bins] == [
        (0.3, 2, 5),
        (0.9, 1, 1),
    ]
    assert found.expected_error == pytest.approx(0.1 * 5 / 6)
    assert found.brier == pytest.approx((2 * 0.49 + 3 * 0.09) / 6)
    assert found.brier_of_prevalence == pytest.approx(0.25)
