"""Area weights are exact."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.imaging.resample import area_weights, covering, resample


def test_a_cell_is_the_mean_of_what_it_covers() -> None:
    weights = area_weights(np.array([0.0, 1, 2, 3]), np.array([-1.0, 0.5, 2.5, 4, 5])).toarray()
    np.testing.assert_allclose(weights, [[1, 0, 0], [0.25, 0.5, 0.25], [0, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    ("count", "spacing", "cell"), [(512, 0.75, 3.2), (512, 0.59, 2.1), (300, 1.0, 5.0), (7, 3, 1)]
)
@pytest.mark.parametrize("parity", [0, 1])
def test_cells_cover_the_image_with_the_parity_asked_for(
    count: int, spacing: float, cell: float, parity: int
) -> None:
    axis = covering(count, spacing, cell, parity)
    assert axis.cells % 2 == parity
    assert axis.cells * cell >= count * spacing - 1e-6
    assert (axis.cells - 2) * cell < count * spacing


def test_an_image_on_its_own_grid_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(-1024, 3000, (48, 64)).astype(float)
    axes = [covering(n, 3.2, 3.2, 0) for n in image.shape]
    np.testing.assert_array_equal(resample(image, *axes), image.astype(np.float32))


def test_the_integral_is_kept_where_cells_end_with_the_image() -> None:
    image = np.random.default_rng(0).integers(-1024, 3000, (60, 80)).astype(float)
    axes = [covering(n, 0.5, 2.5, n // 5 % 2) for n in image.shape]
    small = resample(image, *axes)
    assert small.shape == (12, 16)
    assert small.mean() == pytest.approx(image.mean(), abs=1e-3)


def test_a_ramp_stays_a_ramp_at_the_right_place() -> None:
    """Linear in mm from the centre: the mean over a cell is the value at its middle."""
    spacing, cell = 0.7, 2.1
    x = (np.arange(300) - 149.5) * spacing
    image = np.add.outer(2 * x, 3 * x)
    axis = covering(300, spacing, cell, 0)
    centres = (np.arange(axis.cells) - (axis.cells - 1) / 2) * cell
    inner = slice(2, -2)
    np.testing.assert_allclose(
        resample(image, axis, axis)[inner, inner],
        np.add.outer(2 * centres, 3 * centres)[inner, inner],
        atol=2e-4,
    )


def test_turning_the_image_turns_the_result() -> None:
    image = np.random.default_rng(0).integers(-1024, 3000, (512, 512)).astype(float)
    axis = covering(512, 0.5898, 3.2, 0)
    plain = resample(image, axis, axis)
    for turned in (resample(image[::-1], axis, axis)[::-1], resample(image.T, axis, axis).T):
        np.testing.assert_allclose(turned, plain, atol=2e-4)
