"""The phantoms are not easy: neither the placeholder model nor lung density tells who of them is ill.

The tables are of the populations that `scanlight population` writes for these seeds, measured with
`python -m tools.baselines.densities`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tools.baselines.classical import fit
from tools.baselines.densities import Measures, measure, read_table
from tools.evaluate.delong import auc_with_interval
from tools.phantom.population import person
from tools.phantom.population_command import population

HERE = Path(__file__).parent
TRAIN, HELD_OUT = HERE / "population-train.csv", HERE / "population-held-out.csv"
TRAIN_SEEDS, HELD_OUT_SEEDS = range(1, 301), range(900_001, 900_201)
HIGHEST_AUC = 0.80


def auc_either_way(scores: np.ndarray, rows: list[Measures]) -> float:
    """That of the scores or of their opposite, whichever tells more."""
    auc, _ = auc_with_interval(scores, np.array([bool(row.label) for row in rows]))
    return max(auc, 1 - auc)


def test_the_placeholder_model_does_not_tell_who_is_ill() -> None:
    rows = read_table(HELD_OUT)
    assert auc_either_way(np.array([row.densitometry for row in rows]), rows) <= HIGHEST_AUC


def test_density_and_ground_glass_do_not_tell_who_is_ill() -> None:
    known, rows = read_table(TRAIN), read_table(HELD_OUT)
    predict = fit("logistic", [row.density for row in known], [row.label for row in known], seed=1)
    densities = [row.density for row in rows]
    assert auc_either_way(predict(densities), rows) <= HIGHEST_AUC
    for measure_of_one in ("mean_hu", "ground_glass"):
        values = np.array([getattr(density, measure_of_one) for density in densities])
        assert auc_either_way(values, rows) <= HIGHEST_AUC


def test_the_tables_are_of_their_populations() -> None:
    for path, seeds in ((TRAIN, TRAIN_SEEDS), (HELD_OUT, HELD_OUT_SEEDS)):
        rows = read_table(path)
        assert [row.seed for row in rows] == list(seeds)
        people = [person(seed) for seed in seeds]
        assert [(row.label, row.group) for row in rows] == [(int(one.covid), one.group) for one in people]
        assert all(row.density.lung_ml > 1000 for row in rows), "in each of them there are lungs"
    assert not {row.seed for row in read_table(TRAIN)} & {row.seed for row in read_table(HELD_OUT)}


@pytest.mark.slow
@pytest.mark.parametrize(("path", "first", "count"), [(HELD_OUT, 900_101, 3), (TRAIN, 3, 1)])
def test_the_tables_are_of_the_phantoms_of_today(path: Path, first: int, count: int, tmp_path: Path) -> None:
    population(tmp_path / "set", count=count, seed=first, processes=1)
    again = measure(tmp_path / "set", tmp_path / "cache")
    known = [row for row in read_table(path) if first <= row.seed < first + count]
    assert [(row.seed, row.label, row.group) for row in again] == [
        (row.seed, row.label, row.group) for row in known
    ]
    for found, row in zip(again, known, strict=True):
        assert found.densitometry == pytest.approx(row.densitometry, abs=2e-4)
        assert found.density.mean_hu == pytest.approx(row.density.mean_hu, abs=0.05)
        assert found.density.ground_glass == pytest.approx(row.density.ground_glass, abs=1e-4)
        assert found.density.bands == pytest.approx(row.density.bands, abs=1e-4)
        assert found.density.lung_ml == pytest.approx(row.density.lung_ml, abs=2)
