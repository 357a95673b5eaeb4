"""Lung density measured in phantoms of which it is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tools.baselines.features import BANDS_HU, LungDensity, lung_density, lungs
from tools.phantom.chest import Chest, Phantom
from tools.phantom.lesions import DiseaseRanges
from tools.phantom.make import make_chest
from tools.phantom.mimics import Mimics

WELL = Chest("clear", seed=7, slice_mm=5.0, matrix=128, noise_hu=0.0)


def measured(one: Phantom) -> LungDensity:
    return lung_density(one.hu.astype(np.float32), one.spacing_mm)


@pytest.fixture(scope="module")
def well() -> Phantom:
    return make_chest(WELL)


def test_the_lungs_are_found_with_what_is_in_them(well: Phantom) -> None:
    assert measured(well).lung_ml == pytest.approx(well.lung_ml, rel=0.05)
    ill = make_chest(replace(WELL, kind="covid"))
    inside = lungs(ill.hu.astype(np.float32), ill.spacing_mm)
    assert (inside & ill.lesions).sum() / ill.lesions.sum() > 0.9


def test_density_is_what_was_painted(well: Phantom) -> None:
    density = measured(well)
    assert sum(density.bands) == pytest.approx(1, abs=0.01)
    shifted = measured(make_chest(WELL, mimics=Mimics(inflation_hu=30)))
    assert shifted.mean_hu - density.mean_hu == pytest.approx(25, abs=6)
    ill = measured(make_chest(replace(WELL, kind="covid")))
    healthy = measured(make_chest(replace(WELL, kind="covid"), DiseaseRanges(ground_glass_count=(0, 0))))
    assert ill.ground_glass > healthy.ground_glass + 0.005


def test_where_there_is_no_lung_nothing_is_measured() -> None:
    empty = lung_density(np.full((20, 64, 64), 40, np.float32), (5.0, 4.0, 4.0))
    assert empty == LungDensity(0.0, 0.0, (0.0,) * (len(BANDS_HU) - 1), 0.0)
