"""DeLong's variance and test, against published examples and the definition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tools.evaluate.delong import auc_with_interval, paired_test
from tools.evaluate.intervals import Z

Numbers = NDArray[np.float64]


def arrays(labels: list[int], *models: list[float]) -> tuple[NDArray[np.bool_], list[Numbers]]:
    return np.array(labels) == 1, [np.array(one) for one in models]


def test_an_example_worked_by_hand() -> None:
    """https://glassboxmedicine.com/2020/02/04/comparing-aucs-of-machine-learning-models-with-delongs-test/"""
    positive, (first, second) = arrays([0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.7, 0.8], [0.3, 0.6, 0.2, 0.7, 0.9])
    test = paired_test(first, second, positive)
    assert (test.first, test.second) == pytest.approx((1, 2 / 3))
    assert test.z == pytest.approx(1)
    assert test.p == pytest.approx(0.3173, abs=5e-5)


def test_a_larger_example_with_ties() -> None:
    """The same page's second one, computed there with pROC: Z = 1.672, p = 0.09453."""
    positive, (first, second) = arrays(
        [0] * 6 + [1] * 7,
        [0.1, 0.2, 0.05, 0.3, 0.1, 0.6, 0.6, 0.7, 0.8, 0.99, 0.8, 0.67, 0.5],
        [0.3, 0.6, 0.2, 0.1, 0.1, 0.9, 0.23, 0.7, 0.9, 0.4, 0.77, 0.3, 0.89],
    )
    test = paired_test(first, second, positive)
    assert (test.first, test.second) == pytest.approx((0.9642857, 0.7380952), abs=5e-8)
    assert test.z == pytest.approx(1.672, abs=5e-4)
    assert test.p == pytest.approx(0.09453, abs=5e-6)


@pytest.mark.parametrize("digits", [1, 6], ids=["ties", "no ties"])
def test_the_ranks_give_what_the_definition_gives(digits: int) -> None:
    rng = np.random.default_rng(5)
    positive = rng.random(60) < 0.4
    first = np.round(np.clip(rng.normal(0.4 + 0.2 * positive, 0.2), 0, 1), digits)
    second = np.round(np.clip(rng.normal(0.4 + 0.1 * positive, 0.2), 0, 1), digits)
    auc, interval = auc_with_interval(first, positive)
    variance = by_definition([first, second], positive)
    assert auc == pytest.approx(roc_auc_score(positive, first))
    assert interval is not None
    assert interval.high - auc == pytest.approx(Z * variance[0][0] ** 0.5)
    of_difference = variance[0][0] + variance[1][1] - 2 * variance[0][1]
    test = paired_test(first, second, positive)
    assert test.z == pytest.approx(test.difference / of_difference**0.5)
    assert test.interval is not None
    assert test.interval.high - test.interval.low == pytest.approx(2 * Z * of_difference**0.5)


def by_definition(models: list[Numbers], positive: NDArray[np.bool_]) -> list[list[float]]:
    """DeLong et al. 1988, equations 4 to 6, pair by pair."""

    def above(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    v10, v01, aucs = [], [], []
    for scores in models:
        xs, ys = scores[positive].tolist(), scores[~positive].tolist()
        v10.append([sum(above(x, y) for y in ys) / len(ys) for x in xs])
        v01.append([sum(above(x, y) for x in xs) / len(xs) for y in ys])
        aucs.append(sum(v10[-1]) / len(xs))

    def s(v: list[list[float]], r: int, t: int) -> float:
        products = [(a - aucs[r]) * (b - aucs[t]) for a, b in zip(v[r], v[t], strict=True)]
        return sum(products) / (len(products) - 1)

    sizes = range(len(models))
    return [[s(v10, r, t) / len(v10[0]) + s(v01, r, t) / len(v01[0]) for t in sizes] for r in sizes]


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of 400 samples from normal distributions one apart, whose AUC is 0.7602."""
    rng = np.random.default_rng(9)
    positive = np.arange(120) < 60
    hits = 0
    for _ in range(400):
        _, interval = auc_with_interval(rng.normal(positive, 1.0), positive)
        assert interval is not None
        hits += interval.low <= 0.7602 <= interval.high
    assert 0.92 <= hits / 400 <= 0.98


def test_a_model_is_not_tested_against_itself() -> None:
    positive, (first,) = arrays([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
    test = paired_test(first, first, positive)
    assert (test.difference, test.z, test.p, test.interval) == (0, None, None, None)


@pytest.mark.parametrize(
    ("labels", "scores", "auc"),
    [
        ([0, 1, 1], [0.2, 0.1, 0.9], 0.5),
        ([0, 0, 1, 1], [0.5] * 4, 0.5),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 1.0),
    ],
    ids=["one case in a class", "all scores equal", "no overlap"],
)
def test_without_variance_there_is_no_interval(labels: list[int], scores: list[float], auc: float) -> None:
    positive, (found,) = arrays(labels, scores)
    assert auc_with_interval(found, positive) == (auc, None)
