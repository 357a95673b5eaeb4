"""Noise and mottle: what the kernel and the dose say, whatever the grid."""

from __future__ import annotations

import numpy as np
import pytest

from tools.phantom.texture import Reconstruction, SmoothField

BOX = ((0.0, 60.0), (-50.0, 50.0), (-40.0, 40.0))


def noise(kernel, matrix=128, pixel_mm=0.8, noise_hu=20.0):
    scan = Reconstruction(kernel, matrix, pixel_mm, noise_hu)
    return np.stack([scan(np.zeros((matrix, matrix), np.float32), scan.white(1, k)) for k in range(8)])


@pytest.mark.parametrize(("matrix", "pixel_mm"), [(64, 6.25), (128, 0.8), (96, 3.2)])
def test_the_noise_in_the_middle_is_what_was_asked_for(matrix, pixel_mm):
    middle = noise("soft", matrix, pixel_mm)[
        :, matrix // 2 - 8 : matrix // 2 + 8, matrix // 2 - 8 : matrix // 2 + 8
    ]
    assert middle.std() == pytest.approx(20, rel=0.1)


def test_the_sharp_kernel_has_more_noise_of_a_higher_frequency():
    soft, sharp = noise("soft", pixel_mm=0.5), noise("sharp", pixel_mm=0.5)
    assert sharp.std() == pytest.approx(2 * soft.std(), rel=0.05)

    def roughness(field):
        return np.diff(field, axis=2).std() / field.std()

    assert roughness(sharp) > 1.3 * roughness(soft)


def test_the_sharp_kernel_keeps_more_of_an_edge():
    edge = np.zeros((64, 64), np.float32)
    edge[:, 32:] = 1000
    blank = np.zeros_like(edge)
    soft, sharp = (Reconstruction(kernel, 64, 0.7, 0.0)(edge, blank) for kernel in ("soft", "sharp"))
    assert np.diff(sharp[32, 28:36]).max() > 1.2 * np.diff(soft[32, 28:36]).max()
    assert soft.mean() == pytest.approx(500, abs=0.1)
    assert soft[32, 16] == pytest.approx(0, abs=1)


def test_averaging_before_or_after_the_reconstruction_is_the_same():
    scan = Reconstruction("sharp", 64, 0.8, 20.0)
    density = np.random.default_rng(0).normal(0, 300, (2, 64, 64)).astype(np.float32)
    white = np.stack([scan.white(3, slab) for slab in (0, 1)])
    after = np.mean([scan(d, w) for d, w in zip(density, white, strict=True)], axis=0)
    assert np.abs(scan(density.mean(axis=0), white.mean(axis=0)) - after).max() < 0.01


def test_slabs_have_noise_of_their_own():
    scan = Reconstruction("soft", 64, 0.8, 20.0)
    assert np.array_equal(scan.white(3, 7), scan.white(3, 7))
    correlation = np.corrcoef(scan.white(3, 7).ravel(), scan.white(3, 8).ravel())[0, 1]
    assert abs(correlation) < 0.06


def test_a_smooth_field_belongs_to_the_patient_not_to_the_grid():
    fine_y, fine_x = np.linspace(-45, 45, 181), np.linspace(-35, 35, 141)
    fine = SmoothField(np.random.default_rng(4), 6.0, BOX, fine_y, fine_x)
    coarse = SmoothField(np.random.default_rng(4), 6.0, BOX, fine_y[::4], fine_x[::5])
    assert np.abs(fine.plane(31.0)[::4, ::5] - coarse.plane(31.0)).max() < 1e-5
    values = np.stack([fine.plane(z) for z in np.linspace(0, 60, 21)])
    assert values.std() == pytest.approx(1, abs=0.12)
    step = np.abs(fine.plane(30.0) - fine.plane(30.5)).mean()
    assert 0 < step < 0.2
