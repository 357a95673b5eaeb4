"""The voxels of a phantom: reproducible, of one patient whatever the slices, with an exact mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tools.phantom import Chest, DiseaseRanges, PhantomError, make_chest
from tools.phantom.anatomy import anatomy_of
from tools.phantom.lesions import draw

SMALL = Chest("covid", seed=5, slice_mm=5.0, matrix=64)


@pytest.fixture(scope="module")
def small(made):
    return made(SMALL)


def aerated(hu):
    """Air in the body: the area in voxels of each slice, without what is connected to the border."""
    areas = []
    for plane in hu:
        labels, _ = ndimage.label(plane < -500)
        border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        areas.append(int(((labels > 0) & ~np.isin(labels, border)).sum()))
    return np.array(areas)


def drawn(kind, seed, side=None):
    chest = replace(SMALL, kind=kind, seed=seed, side=side)
    return draw(chest, anatomy_of(seed), DiseaseRanges(), np.random.default_rng(seed))


def test_the_same_request_gives_the_same_voxels(small):
    again = make_chest(SMALL)
    assert np.array_equal(small.hu, again.hu)
    assert np.array_equal(small.lesions, again.lesions)


def test_another_seed_is_another_patient():
    assert len({anatomy_of(seed) for seed in range(20)}) == 20
    assert len({str(drawn("covid", seed)) for seed in range(20)}) == 20


@pytest.mark.parametrize("slice_mm", [1.0, 2.5])
def test_thinner_slices_average_to_the_thick_ones(small, slice_mm):
    thin = make_chest(replace(SMALL, slice_mm=slice_mm))
    per = round(5 / slice_mm)
    groups = thin.hu.reshape(-1, per, 64, 64).astype(float)
    difference = np.abs(groups.mean(axis=1) - small.hu)
    unclipped = groups.min(axis=1) > -1024
    assert len(thin.hu) == per * len(small.hu)
    assert difference[unclipped].max() <= 1.0
    assert unclipped.mean() > 0.9
    assert thin.origin_mm[2] - slice_mm / 2 == pytest.approx(small.origin_mm[2] - 2.5)


def test_the_lungs_hold_three_to_five_litres():
    litres = [anatomy_of(seed).lung_litres() for seed in range(60)]
    assert min(litres) > 3.0
    assert max(litres) < 5.0
    assert max(litres) - min(litres) > 1.0


def test_the_lungs_lie_within_the_scan(small):
    areas = aerated(small.hu)
    assert max(areas[0], areas[-1]) < 0.13 * areas.max()
    assert areas.sum() * np.prod(small.spacing_mm) / 1000 == pytest.approx(small.lung_ml, rel=0.15)
    assert anatomy_of(SMALL.seed).extent_mm % 5 == 0


def test_every_patient_fits_the_usual_scan():
    for seed in range(60):
        anatomy = anatomy_of(seed)
        assert anatomy.extent_mm <= 400
        assert 2 * (anatomy.half_width + anatomy.lateral_wall + 4) < 400


def test_densities_of_the_tissues(small):
    anatomy = anatomy_of(SMALL.seed)
    level = int(anatomy.z(0.5) / 5)
    half = small.hu[level][:, :32]
    lung = half[(half < -700) & (half > -920)]
    assert -900 < np.median(lung) < -820
    front, back = small.hu[level][20:27, 18:26], small.hu[level][34:41, 18:26]
    assert np.percentile(back, 30) > np.percentile(front, 30) + 5
    assert small.hu.max() > 300
    assert small.hu.min() >= -1024


@pytest.fixture(scope="module")
def without_disease():
    chest = Chest("covid", seed=7, slice_mm=2.5, matrix=96, noise_hu=0.0)
    made = make_chest(chest, DiseaseRanges(ground_glass_count=(0, 0)))
    assert not made.lesions.any()
    return made


@pytest.mark.parametrize("kind", ["covid", "cap", "clear"])
def test_the_mask_is_where_the_disease_is(without_disease, kind):
    well = without_disease
    ill = make_chest(replace(well.chest, kind=kind), DiseaseRanges(nodule_mm=(8, 8)))
    changed = np.abs(ill.hu.astype(int) - well.hu) > 1
    near = ndimage.binary_dilation(ill.lesions, iterations=9 if kind != "clear" else 4)
    assert ill.lesions.any()
    assert changed[ill.lesions].mean() > 0.9
    assert not (changed & ~near).any()


def test_ground_glass_is_grey_at_the_pleura_and_mostly_in_the_lower_lobes(small):
    assert -700 <= np.median(small.hu[small.lesions]) <= -400
    patients = [(anatomy_of(seed), drawn("covid", seed)) for seed in range(40)]
    patches = [(anatomy, patch) for anatomy, patches in patients for patch in patches]
    assert all(-700 <= patch.hu <= -400 for _, patch in patches)
    assert all(15 <= 2 * patch.radii[0] <= 45 for _, patch in patches)
    depths = [float(a.cavity_depth(*np.float32(patch.centre))) for a, patch in patches]
    assert np.percentile(depths, 95) < 15
    lower = [a.lower_lobe_depth(*np.float32(patch.centre[1:])) > 0 for a, patch in patches]
    assert 0.6 < np.mean(lower) < 0.9
    both = [len({patch.side for patch in patches}) == 2 for _, patches in patients]
    assert 0.6 < np.mean(both) < 1.0


def test_consolidation_is_dense_on_one_side_with_air_in_the_bronchi():
    made = make_chest(Chest("cap", 2, slice_mm=2.5, matrix=192, noise_hu=0.0))
    inside = made.hu[ndimage.binary_erosion(made.lesions, iterations=3)]
    assert -50 <= np.median(inside) <= 50
    assert (inside < -300).mean() > 0.001
    x = np.nonzero(made.lesions)[2]
    assert (x >= 96).all() or (x < 96).all()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", ["covid", "cap", "clear"])
def test_lesions_are_drawn_on_the_side_asked_for(kind, side):
    for seed in range(10):
        sign = 1 if side == "left" else -1
        assert all(lesion.side == side and sign * lesion.centre[0] > 0 for lesion in drawn(kind, seed, side))


def test_x_grows_to_the_left():
    made = make_chest(replace(SMALL, side="left"))
    assert made.lesions[:, :, 32:].any()
    assert not made.lesions[:, :, :32].any()


def test_a_whited_out_lung_is_dense_and_the_other_is_not():
    made = make_chest(replace(SMALL, kind="clear", whiteout="right", noise_hu=0.0))
    right, left = made.hu[:, :, :32], made.hu[:, :, 32:]
    masked = made.lesions[:, :, :32]
    assert made.lesions.sum() == masked.sum()
    assert 1000 < masked.sum() * np.prod(made.spacing_mm) / 1000 < 3000
    assert abs(np.median(right[masked]) - 30) < 15
    assert (left < -700).sum() > 2 * (right[:, 16:48, 8:] < -700).sum()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"slice_mm": 2.3}, "slice thickness is 2.3 mm: choose a multiple of 0.25 mm from 1 to 5 mm."),
        ({"slice_mm": 0.5}, "slice thickness is 0.5 mm: choose a multiple of 0.25 mm from 1 to 5 mm."),
        (
            {"slice_mm": float("nan")},
            "slice thickness is nan mm: choose a multiple of 0.25 mm from 1 to 5 mm.",
        ),
        ({"matrix": 1024}, "matrix is 1024: choose 64 to 512 pixels."),
        ({"fov_mm": 50.0}, "field of view is 50 mm: choose 100 to 500 mm."),
        ({"kind": "flu"}, "kind is 'flu': choose one of covid, cap, clear."),
        ({"side": "top"}, "side is 'top': choose one of left, right."),
        ({"seed": -1}, "seed is -1: choose a whole number from 0."),
        ({"noise_hu": -3.0}, "noise is -3 HU: choose 0 to 200 HU."),
    ],
)
def test_a_request_out_of_range_gets_one_sentence(change, sentence):
    with pytest.raises(PhantomError) as refused:
        replace(SMALL, **change)
    assert str(refused.value) == sentence
