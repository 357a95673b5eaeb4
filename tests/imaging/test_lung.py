"""Lung in single slices: analytic ones here, real ones in test_assess."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.imaging.lung import find_lung

SPACING = (1.5, 1.5)
SIZE = 240
Y, X = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2


def ellipse(y: float, x: float, height: float, width: float) -> np.ndarray:
    """Semi-axes and centre in mm from the image's middle."""
    return ((Y * 1.5 - y) / height) ** 2 + ((X * 1.5 - x) / width) ** 2 < 1


def body() -> np.ndarray:
    hu = np.full((SIZE, SIZE), -1000.0)
    hu[ellipse(0, 0, 110, 150)] = 40
    return hu


def test_lung_is_measured_in_mm_about_the_centre() -> None:
    hu = body()
    hu[ellipse(10, -70, 60, 45)] = -850
    found = find_lung(hu, SPACING)
    assert found.area_mm2 == pytest.approx(np.pi * 60 * 45, rel=0.03)
    assert found.bounds_mm == pytest.approx((-50, 70, -115, -25), abs=3.0)


def test_anisotropic_pixels_are_measured_in_mm() -> None:
    hu = body()
    hu[ellipse(10, -70, 60, 45)] = -850
    found = find_lung(hu[::2], (3.0, 1.5))
    assert found.area_mm2 == pytest.approx(np.pi * 60 * 45, rel=0.04)


def test_two_lungs_and_no_lung() -> None:
    hu = body()
    assert find_lung(hu, SPACING).area_mm2 == 0
    assert find_lung(hu, SPACING).bounds_mm is None
    hu[ellipse(0, -70, 60, 45)] = hu[ellipse(0, 70, 60, 45)] = -800
    both = find_lung(hu, SPACING)
    assert both.area_mm2 == pytest.approx(2 * np.pi * 60 * 45, rel=0.03)


def test_gas_is_not_lung() -> None:
    hu = body()
    hu[ellipse(-40, 0, 40, 60)] = -1000
    assert find_lung(hu, SPACING).area_mm2 == 0


def test_what_is_small_is_not_lung() -> None:
    hu = body()
    hu[ellipse(0, 0, 6, 6)] = -800
    assert find_lung(hu, SPACING).area_mm2 == 0


def test_air_around_the_body_and_its_padding_are_not_lung() -> None:
    hu = body()
    hu[ellipse(0, 0, 110, 150) ^ ellipse(0, 0, 118, 158)] = -700
    hu[~ellipse(0, 0, 178, 178)] = -1024
    assert find_lung(hu, SPACING).area_mm2 == 0


def test_foam_in_a_shell_is_not_lung() -> None:
    """A table top: foam in a thin hard shell, in air below the back."""
    hu = body()
    table = (np.abs(Y * 1.5 - 140) < 18) & (np.abs(X * 1.5) < 149)
    foam = (np.abs(Y * 1.5 - 140) < 13) & (np.abs(X * 1.5) < 144)
    hu[table] = -150
    hu[foam] = -930
    assert find_lung(hu, SPACING).area_mm2 == 0


def test_a_white_lung_leaves_the_other() -> None:
    hu = body()
    hu[ellipse(0, -70, 60, 45)] = 20
    hu[ellipse(0, 70, 60, 45)] = -850
    found = find_lung(hu, SPACING)
    assert found.area_mm2 == pytest.approx(np.pi * 60 * 45, rel=0.03)
    assert found.bounds_mm is not None
    assert found.bounds_mm[2] > 0
