"""Classifiers on made-up densities, and a volume measured on a model's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from engines.spec import Grid
from tools.baselines.classical import Classifier, fit, measured
from tools.baselines.densities import Measures, read_table, write_table
from tools.baselines.features import BANDS_HU, LungDensity, lung_density
from tools.dataset.cases import Case
from tools.dataset.volumes import Made
from tools.evaluate.delong import auc_with_interval
from tools.phantom.chest import Chest
from tools.phantom.make import make_chest
from tools.problem import WrongInput

KINDS: Sequence[Classifier] = get_args(Classifier)
GRID = Grid(size=(80, 128, 128), spacing_mm=(5.0, 3.2, 3.2))


def people(count: int, apart: float, seed: int = 0) -> tuple[list[LungDensity], list[int]]:
    """Alternately healthy and ill, whose mean density and ground glass are so many deviations apart."""
    rng = np.random.default_rng(seed)
    labels = [number % 2 for number in range(count)]
    densities = [
        LungDensity(
            mean_hu=float(-780 + 20 * (apart * label + rng.normal())),
            ground_glass=float(0.2 + 0.02 * (apart * label + rng.normal())),
            bands=tuple(rng.uniform(0, 0.1, len(BANDS_HU) - 1).tolist()),
            lung_ml=float(rng.uniform(3000, 6000)),
        )
        for label in labels
    ]
    return densities, labels


def auc(scores: np.ndarray, labels: Sequence[int]) -> float:
    return auc_with_interval(scores, np.array(labels, bool))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_classes_that_lie_apart_are_told_apart(kind: Classifier) -> None:
    predict = fit(kind, *people(60, 8.0), seed=1)
    others, labels = people(40, 8.0, seed=1)
    scores = predict(others)
    assert scores.dtype == np.float64
    assert auc(scores, labels) > 0.99
    assert ((scores > 0.5) == np.array(labels, bool)).mean() > 0.95
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert predict([]).shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_scores_every_time(kind: Classifier) -> None:
    known, (others, _) = people(60, 1.0), people(20, 1.0, seed=1)
    first, again, other = (fit(kind, *known, seed)(others) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (kind == "logistic"), "nothing in it is drawn"


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_logistic_regression_looks_past_bands_and_volume(kind: Classifier) -> None:
    known, labels = people(60, 0.0)
    told = [
        replace(one, bands=(0.5 * label, *one.bands[1:])) for one, label in zip(known, labels, strict=True)
    ]
    shuffled = [
        replace(one, bands=other.bands, lung_ml=other.lung_ml)
        for one, other in zip(told, told[1:] + told[:1], strict=True)
    ]
    scores = fit(kind, told, labels, seed=1)(told)
    if kind == "logistic":
        assert np.array_equal(fit(kind, shuffled, labels, seed=1)(shuffled), scores)
        assert auc(scores, labels) < 0.8
    else:
        assert auc(scores, labels) > 0.95


def test_the_svm_and_the_logistic_regression_do_not_care_for_units() -> None:
    """Lung volumes in ml must not drown shares."""
    known, labels = people(60, 3.0)
    scores = fit("svm", known, labels, seed=1)(known)
    litres = [replace(one, lung_ml=one.lung_ml / 1000) for one in known]
    assert fit("svm", litres, labels, seed=1)(litres) == pytest.approx(scores, abs=1e-6)
    percent = [replace(one, ground_glass=100 * one.ground_glass) for one in known]
    logistic = fit("logistic", known, labels, seed=1)(known)
    assert fit("logistic", percent, labels, seed=1)(percent) == pytest.approx(logistic, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positive", [0, 1, 19, 20])
def test_one_class_is_told_in_a_sentence(kind: Classifier, positive: int) -> None:
    densities, _ = people(20, 1.0)
    labels = [1] * positive + [0] * (20 - positive)
    with pytest.raises(WrongInput, match=rf"^Of the 20 series to learn from {positive} are positive: .*\.$"):
        fit(kind, densities, labels, seed=1)


@pytest.mark.parametrize("kind", KINDS)
def test_two_of_a_class_are_enough(kind: Classifier) -> None:
    densities, _ = people(20, 1.0)
    scores = fit(kind, densities, [1] * 2 + [0] * 18, seed=1)(densities)
    assert np.isfinite(scores).all()


def test_a_volume_is_measured_in_spite_of_what_fills_its_grid(tmp_path: Path) -> None:
    """The windpipe leaves the scan at its top."""
    one = make_chest(Chest("clear", seed=7, slice_mm=5.0, matrix=128, fov_mm=409.6))
    filled = np.full(GRID.size, GRID.fill_hu, np.float16)
    low = (GRID.size[0] - len(one.hu)) // 2
    filled[low : low + len(one.hu)] = np.maximum(one.hu, GRID.fill_hu + 1)
    np.save(tmp_path / "volume.npy", filled)
    made = Made(Case("1", 0, "", "", ()), "1.2.3", "p", tmp_path / "volume.npy", None, "")
    density = measured(made, GRID)
    assert density.lung_ml == pytest.approx(one.lung_ml, rel=0.05)
    assert density == lung_density(filled[low : low + len(one.hu)].astype(np.float32), GRID.spacing_mm)


def test_a_table_of_measures_is_read_as_it_was_written(tmp_path: Path) -> None:
    bands = tuple(share / 100 for share in range(len(BANDS_HU) - 1))
    rows = [
        Measures(1, 1, "COVID", LungDensity(-780.25, 0.125, bands, 4100.0), 0.75),
        Measures(2, 0, "clear", LungDensity(-800.5, 0.0625, bands[::-1], 3900.0), 0.25),
    ]
    write_table(tmp_path / "table.csv", rows)
    assert read_table(tmp_path / "table.csv") == rows
