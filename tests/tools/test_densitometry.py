"""The densitometry network: its bytes, its numbers by hand, and what it does and does not flag."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from engines.bundle import embedded_model
from engines.runner import open_engine
from tools.densitometry import build, write
from tools.phantom import Chest, make_chest

GRID = (80, 128, 128)
VOXEL_MM = (5.0, 3.2, 3.2)
SHARE = 0.0015
LITRES = 80 * 128 * 128 * 5.0 * 3.2 * 3.2 / 1e6


@pytest.fixture(scope="module")
def engine():
    return open_engine(embedded_model("densitometry"), threads=2)


def by_hand(hu):
    """Ground glass and aerated lung in litres and the heatmap, as docs/densitometry.md explains them."""
    hu = hu.astype(np.float64)

    def between(low, high):
        return np.clip(np.minimum(hu - low, high - hu) / 50 + 0.5, 0, 1)

    def cells(share):
        return share.reshape(40, 2, 32, 4, 32, 4).mean(axis=(1, 3, 5))

    def everywhere(share, axis):
        """The largest share so far, coming from either side."""
        return (
            np.maximum.accumulate(share, axis),
            np.flip(np.maximum.accumulate(np.flip(share, axis), axis), axis),
        )

    boxes = sliding_window_view(between(-750, -300), (2, 4, 4)).min(axis=(3, 4, 5))
    around = np.pad(boxes, ((1, 1), (3, 3), (3, 3)))
    opened = sliding_window_view(around, (2, 4, 4)).max(axis=(3, 4, 5))

    wall = np.clip(cells(np.clip((hu + 300) / 50 + 0.5, 0, 1)) / 0.25, 0, 1)
    walled = np.minimum.reduce([*everywhere(wall, 1), *everywhere(wall, 2)])
    enclosed = ndimage.minimum_filter(walled, size=(1, 3, 3), mode="nearest")

    heatmap = cells(opened) * enclosed
    aerated = cells(between(-950, -750)) * enclosed
    return heatmap.mean() * LITRES, aerated.mean() * LITRES, heatmap


def probability(glass_l, aerated_l):
    return glass_l / (glass_l + SHARE * max(glass_l + aerated_l, 0.5))


def ellipsoid(centre_mm, semi_axes_mm):
    """Voxels in an ellipsoid; (z, y, x) in mm from the grid's centre: to head, posterior and left."""
    z, y, x = ((np.arange(size) - (size - 1) / 2) * step for size, step in zip(GRID, VOXEL_MM, strict=True))
    at = [(axis - c) / s for axis, c, s in zip((z, y, x), centre_mm, semi_axes_mm, strict=True)]
    return at[0][:, None, None] ** 2 + at[1][None, :, None] ** 2 + at[2][None, None, :] ** 2 <= 1


def simple_chest(seed=0):
    """A trunk of soft tissue with two lungs and a trachea in air, blurred a little, with noise."""
    hu = np.full(GRID, -1000.0)
    hu[ellipsoid((0, 0, 0), (900, 115, 175))] = 40
    for side in (-1, 1):
        hu[ellipsoid((0, 0, side * 80), (130, 80, 62))] = -850
    hu[ellipsoid((120, 0, 0), (110, 9, 9))] = -1000
    hu = ndimage.gaussian_filter(hu, (0.2, 0.4, 0.4))
    return (hu + np.random.default_rng(seed).normal(0, 5, GRID)).astype(np.float32)


def with_lesion(hu, centre_mm, radius_mm):
    """The chest with a ball of about -550 HU in its lung, and the ball's volume in litres."""
    changed = hu.copy()
    inside = ellipsoid(centre_mm, (radius_mm,) * 3)
    changed[inside] += 300
    return changed, inside.sum() * np.prod(VOXEL_MM) / 1e6


def on_grid(phantom):
    """A 5 mm phantom of 128 pixels of 3.2 mm in the middle of the grid."""
    volume = np.full(GRID, -1024, np.float32)
    first = (GRID[0] - len(phantom.hu)) // 2
    volume[first : first + len(phantom.hu)] = np.maximum(phantom.hu, -1024)
    return volume


def scanned(kind, seed, **options):
    return make_chest(Chest(kind, seed, **({"slice_mm": 5.0, "matrix": 128, "fov_mm": 409.6} | options)))


def test_the_committed_file_is_what_the_script_writes(tmp_path):
    write(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == embedded_model("densitometry").read_bytes()


def test_nothing_but_pooling_and_arithmetic():
    arithmetic = {"Abs", "Add", "Clip", "Div", "Flatten", "Max", "Min", "Mul", "Sub"}
    pooling = {"AveragePool", "GlobalAveragePool", "MaxPool"}
    assert {node.op_type for node in build().graph.node} <= arithmetic | pooling


def test_largest_activation_is_the_density_itself():
    """Everything after the first subtraction stays far below the largest FP16 number, 65504."""
    model = onnx.load(embedded_model("densitometry"))
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for node in model.graph.node
        for name in node.output
        if name not in {output.name for output in model.graph.output}
    )
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    metal = np.full((1, 1, *GRID), 3071, np.float32)
    assert max(np.abs(tensor).max() for tensor in session.run(None, {"volume": metal})) < 4096


@pytest.mark.parametrize(
    "volume",
    [
        with_lesion(simple_chest(), (-60, 30, 90), 22)[0],
        np.random.default_rng(3).normal(-500, 120, GRID).astype(np.float32),
        np.where(ellipsoid((-60, 30, 90), (22, 22, 22)), -550, 40).astype(np.float32),
        ndimage.gaussian_filter(np.random.default_rng(4).normal(0, 1, GRID), 3).astype(np.float32) * 12000
        - 500,
    ],
    ids=["chest", "noise", "no lung", "clouds"],
)
def test_by_hand(engine, volume):
    score = engine.infer(volume)
    glass_l, aerated_l, heatmap = by_hand(volume)
    assert glass_l > 0.01
    assert score.probability == pytest.approx(probability(glass_l, aerated_l), abs=1e-5)
    np.testing.assert_allclose(score.heatmap, heatmap, atol=1e-5)


def test_the_clouds_put_every_mask_to_use():
    clouds = ndimage.gaussian_filter(np.random.default_rng(4).normal(0, 1, GRID), 3) * 12000 - 500
    glass_l, aerated_l, heatmap = by_hand(clouds)
    assert glass_l > 0.1
    assert aerated_l > 0.1
    assert 0.05 < (heatmap > 0).mean() < 0.95


def test_volumes_in_litres_are_those_of_the_bodies(engine):
    chest, lesion_l = with_lesion(simple_chest(), (-60, 30, 90), 25)
    lungs_l = 2 * 4 / 3 * np.pi * 130 * 80 * 62 / 1e6
    glass_l, aerated_l, _ = by_hand(chest)
    assert glass_l == pytest.approx(lesion_l, rel=0.1)
    assert glass_l + aerated_l == pytest.approx(lungs_l, rel=0.1)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1, 2)])
def test_mirrored_patient(engine, axes):
    chest, _ = with_lesion(simple_chest(), (-60, 30, 90), 22)
    score, mirrored = engine.infer(chest), engine.infer(np.flip(chest, axes))
    assert mirrored.probability == pytest.approx(score.probability, abs=1e-6)
    np.testing.assert_allclose(np.flip(mirrored.heatmap, axes), score.heatmap, atol=1e-6)


@pytest.mark.parametrize("z", [-70, 70])
@pytest.mark.parametrize("y", [-35, 35])
@pytest.mark.parametrize("x", [-85, 85])
def test_heatmap_lights_where_the_lesion_is(engine, z, y, x):
    chest, _ = with_lesion(simple_chest(), (z, y, x), 20)
    heatmap = engine.infer(chest).heatmap
    centre_mm = [
        (found - (count - 1) / 2) * size
        for found, count, size in zip(
            ndimage.center_of_mass(heatmap), heatmap.shape, (10, 12.8, 12.8), strict=True
        )
    ]
    assert centre_mm == pytest.approx([z, y, x], abs=5)
    assert heatmap.max() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "volume",
    [
        np.full(GRID, -1024, np.float32),
        np.full(GRID, -850, np.float32),
        np.full(GRID, -500, np.float32),
        np.full(GRID, 1000, np.float32),
        np.full(GRID, 3071, np.float32),
        np.random.default_rng(1).normal(0, 30, GRID).astype(np.float32),
        np.random.default_rng(2).uniform(-1024, 3071, GRID).astype(np.float32),
        simple_chest(),
    ],
    ids=["air", "lung", "ground glass", "bone", "metal", "noise", "loud noise", "chest"],
)
def test_no_flag_without_ground_glass_in_a_chest(engine, volume):
    assert engine.infer(volume).probability < 0.05


@pytest.mark.parametrize(
    ("centre_mm", "semi_axes_mm", "density"),
    [
        ((0, 0, 80), (60, 4, 4), 40),
        ((0, 20, 80), (60, 3, 3), -500),
        ((2.5, 20, 80), (2.6, 40, 40), -500),
        ((0, -150, 0), (200, 20, 100), -500),
        ((0, 118, 0), (200, 6, 150), -500),
        ((0, 0, 80), (40, 40, 40), 30),
        ((0, 0, 80), (40, 30, 30), -1000),
    ],
    ids=["vessel", "thin strand", "one slice", "foam outside", "blanket", "consolidation", "cavity"],
)
def test_what_is_not_a_patch_of_ground_glass_in_lung(engine, centre_mm, semi_axes_mm, density):
    chest = simple_chest()
    chest[ellipsoid(centre_mm, semi_axes_mm)] = density
    assert engine.infer(ndimage.gaussian_filter(chest, (0, 0.4, 0.4))).probability < 0.05


@pytest.mark.parametrize("offset_mm", [0.0, 1.3, 2.5])
def test_a_patch_of_20_mm_is_seen_wherever_it_lies(engine, offset_mm):
    centre = (offset_mm, 20 + offset_mm, 80 - offset_mm)
    chest, _ = with_lesion(simple_chest(), centre, 11)
    assert engine.infer(chest).heatmap.max() > 0.2


def test_half_a_hounsfield_unit_hardly_matters(engine):
    """Rounding and resampling move densities by so much."""
    chest, _ = with_lesion(simple_chest(), (-60, 30, 90), 22)
    rounded = chest + np.random.default_rng(5).uniform(-0.5, 0.5, GRID).astype(np.float32)
    assert engine.infer(rounded).probability == pytest.approx(engine.infer(chest).probability, abs=1e-3)


def test_a_lung_that_is_all_ground_glass_is_flagged(engine):
    chest = simple_chest()
    chest[ellipsoid((0, 0, 80), (128, 78, 60))] = -500
    assert engine.infer(chest).probability > 0.9


def test_one_phantom_of_each_kind(engine):
    assert engine.infer(on_grid(scanned("covid", 1))).probability >= 0.5
    assert engine.infer(on_grid(scanned("clear", 1))).probability < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_phantoms(engine, seed):
    assert engine.infer(on_grid(scanned("covid", seed))).probability >= 0.5
    assert engine.infer(on_grid(scanned("clear", seed))).probability < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("slice_mm", [1.0, 2.5])
def test_thinner_slices_of_the_same_phantom(engine, slice_mm):
    thick, thin = scanned("covid", 1), scanned("covid", 1, slice_mm=slice_mm)
    resliced = thin.hu.reshape(len(thick.hu), -1, 128, 128).mean(axis=1)
    volume = on_grid(thick)
    volume[volume.shape[0] // 2 - len(resliced) // 2 :][: len(resliced)] = np.maximum(resliced, -1024)
    assert engine.infer(volume).probability == pytest.approx(
        engine.infer(on_grid(thick)).probability, abs=1e-3
    )
