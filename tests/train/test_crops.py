"""What the network is shown: augmented volumes, and crops around lesions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.spec import Accepted
from tools.dataset.cases import read_cases
from tools.dataset.volumes import Made, make_volumes
from tools.network.configuration import CONFIGURATIONS
from tools.problem import WrongInput
from tools.sheet import read_sheet
from tools.train.crops import Cropper
from tools.train.recipe import CROP

torch = pytest.importorskip("torch", reason="needs torch: pip install 'scanlight[train]'")

from tools.train.augment import AIR_HU, augmented  # noqa: E402


@pytest.fixture(scope="module")
def cases(data: Path) -> list[Made]:
    labelled = read_cases(data, read_sheet(data / "labels.csv"))
    return make_volumes(labelled, CONFIGURATIONS["edge"].grid, Accepted(), data.parent / "volumes", 2)


def test_crops_are_around_lesions_and_in_lung(cases: list[Made]) -> None:
    crops = Cropper(cases).draw(np.random.default_rng(1), 24)
    assert crops.hu.shape == crops.lesions.shape == (24, 1, *CROP)
    holds = crops.lesions.reshape(24, -1).max(1) > 0.4
    assert holds[:15].all(), "ten around what is to be flagged, five around other lesions"
    assert crops.positive[:10].all()
    assert not crops.positive[10:15].any()
    assert {bool(one) for one in crops.positive[15:]} == {True, False}
    inside = crops.lesions > 0.9
    assert np.median(crops.hu[inside]) > -750, "the mask lies on the lesion, reversed or not"
    air = (crops.hu < -700).reshape(24, -1).mean(1)
    assert (air[15:] > 0.1).all()


def test_what_is_drawn_depends_on_the_seed_alone(cases: list[Made]) -> None:
    one, again, other = (Cropper(cases).draw(np.random.default_rng(seed), 6) for seed in (7, 7, 8))
    assert np.array_equal(one.hu, again.hu)
    assert not np.array_equal(one.hu, other.hu)


def test_without_a_mask_there_is_nothing_to_crop_by(cases: list[Made]) -> None:
    with pytest.raises(WrongInput, match="no positive case of the data set has a mask"):
        Cropper([one for one in cases if one.case.label == 0])


def test_a_mask_without_a_lesion_is_nothing_to_crop_by(cases: list[Made], tmp_path: Path) -> None:
    clear = tmp_path / "clear.npy"
    np.save(clear, np.zeros(cases[0].hu().shape, np.uint8))
    emptied = [replace(one, mask=clear) if one.case.label else one for one in cases]
    with pytest.raises(WrongInput, match="no positive case of the data set has a mask with a lesion in it"):
        Cropper(emptied)
    crops = Cropper([*emptied, cases[0]]).draw(np.random.default_rng(1), 24)
    assert (crops.lesions.reshape(24, -1).max(1)[:10] > 0.4).all()


def ball(depth: int, row: int, column: int) -> torch.Tensor:
    """A soft ball of water in air [1, 1, 20, 64, 64]."""
    z, y, x = (np.arange(extent) for extent in (20, 64, 64))
    away = (z[:, None, None] - depth) ** 2 + (y[None, :, None] - row) ** 2 + (x[None, None, :] - column) ** 2
    hu = AIR_HU * (1 - np.exp(-away / 18.0))
    return torch.from_numpy(hu.astype(np.float32))[None, None]


def centre(hu: torch.Tensor) -> np.ndarray:
    weight = (hu[0, 0] - AIR_HU).numpy()
    return np.array([(np.indices(weight.shape)[axis] * weight).sum() / weight.sum() for axis in range(3)])


def test_a_volume_is_scaled_turned_and_reversed_as_in_the_paper() -> None:
    middle = np.array([9.5, 31.5, 31.5])
    radii, signs, angles = [], set(), []
    for seed in range(60):
        away = centre(augmented(ball(10, 32, 50), np.random.default_rng(seed))) - middle
        radii.append(np.hypot(*away[1:]) / np.hypot(0.5, 18.5))
        signs.add(bool(away[2] > 0))
        angles.append(np.degrees(np.arctan(away[1] / away[2])))
        assert abs(away[0] - 0.5) < 0.2, "it stays on its level"
    assert 0.89 < min(radii) < 0.93
    assert 1.07 < max(radii) < 1.11
    assert signs == {True, False}
    assert -17 < min(angles) < -10
    assert 10 < max(angles) < 17
    rows = {
        bool(centre(augmented(ball(10, 50, 32), np.random.default_rng(seed)))[1] > 31.5) for seed in range(9)
    }
    assert rows == {True, False}


def test_what_comes_in_from_outside_is_air() -> None:
    water = torch.zeros(1, 1, 8, 32, 32)
    seen = [augmented(water, np.random.default_rng(seed)) for seed in range(8)]
    assert min(float(one.min()) for one in seen) == AIR_HU
    assert all(float(one.max()) == pytest.approx(0, abs=1e-3) for one in seen)
