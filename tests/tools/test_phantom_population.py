"""A population in which density does not tell who is ill, and what makes it so."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from command import scanlight

from tools.phantom.anatomy import anatomy_of
from tools.phantom.chest import Chest, Phantom
from tools.phantom.lesions import DiseaseRanges
from tools.phantom.make import make_chest
from tools.phantom.mimics import Mimics
from tools.phantom.population import SHARES, person

WELL = Chest("clear", seed=7, slice_mm=5.0, matrix=96, noise_hu=0.0)
NOTHING = DiseaseRanges(nodule_count=(0, 0))


def made(**mimics: float) -> Phantom:
    return make_chest(WELL, NOTHING, mimics=Mimics(**mimics))


@pytest.fixture(scope="module")
def well() -> Phantom:
    return made()


def added(one: Phantom, well: Phantom) -> np.ndarray:
    """What it adds to the lung of the healthy one."""
    lung = (well.hu > -920) & (well.hu < -700)
    return np.where(lung, one.hu.astype(float) - well.hu, 0.0)


def test_without_mimics_it_is_the_chest_of_before(well: Phantom) -> None:
    assert np.array_equal(well.hu, make_chest(WELL, NOTHING).hu)


def test_haze_lies_around_the_hila_or_behind_and_is_no_lesion(well: Phantom) -> None:
    central = made(haze_hu=200, haze_central=1.0)
    behind = made(haze_hu=200, haze_central=0.0)
    z = round(anatomy_of(7).hilum("left")[2] / 5)
    assert added(central, well)[z].max() > 150
    assert added(central, well)[-8:].max() < 60
    middle = well.hu.shape[1] // 2
    means = [added(behind, well)[:, rows].sum() for rows in (slice(0, middle), slice(middle, None))]
    assert means[1] > 3 * means[0]
    assert not central.lesions.any()


def test_dependent_lung_lies_on_the_pleura_behind(well: Phantom) -> None:
    denser = added(made(dependent_mm=15, dependent_hu=-500), well)
    z, y, x = np.nonzero(denser > 60)
    assert len(z) > 100
    depth = [
        float(
            anatomy_of(7).cavity_depth(
                *np.float32(((c + 0.5) * 400 / 96 - 200, (r + 0.5) * 400 / 96 - 200, s * 5 + 2.5))
            )
        )
        for s, r, c in zip(z, y, x, strict=True)
    ]
    assert np.percentile(depth, 90) < 22
    assert y.min() > 40


@pytest.mark.parametrize("mimics", [{"bands": 4}, {"nodules": 6}])
def test_bands_and_nodules_are_dense_and_no_lesions(well: Phantom, mimics: dict[str, float]) -> None:
    one = made(**mimics)
    assert (added(one, well) > 200).sum() > 20
    assert not one.lesions.any()


def test_motion_smears_the_diaphragm_and_not_the_apex(well: Phantom) -> None:
    moved = np.abs(made(motion_mm=6).hu.astype(float) - well.hu)
    low, apex = moved[3:20].mean(), moved[-6:-3].mean()
    assert low > 20
    assert apex < 0.1 * low


def test_a_shallow_breath_is_denser_everywhere(well: Phantom) -> None:
    lung = (well.hu > -900) & (well.hu < -800)
    assert np.median(added(made(inflation_hu=30), well)[lung]) == pytest.approx(30, abs=3)


def test_a_consolidation_may_have_ground_glass_around() -> None:
    chest = replace(WELL, kind="cap")
    bare = make_chest(chest, DiseaseRanges())
    ringed = make_chest(chest, DiseaseRanges(halo_mm=(10, 10)))
    for one in (bare, ringed):
        assert one.lesions.any()
    grey = [((one.hu > -700) & (one.hu < -300) & one.lesions).sum() for one in (bare, ringed)]
    assert grey[1] > 2 * grey[0]


def test_people_are_the_same_every_time_and_of_all_groups() -> None:
    people = [person(seed) for seed in range(1000)]
    assert people[:50] == [person(seed) for seed in range(50)]
    counted = Counter(one.group for one in people)
    assert all(abs(counted[group] / 1000 - share) < 0.05 for group, share in SHARES.items())
    assert all(one.covid == (one.chest.kind == "covid") for one in people)
    ill = [one for one in people if one.covid]
    assert any(one.mimics.dependent_mm and one.mimics.bands and one.mimics.nodules for one in ill)


def test_a_data_set_is_written_once_and_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    out = tmp_path / "set"
    (out / ".000002.part").mkdir(parents=True)
    arguments = ("population", str(out), "--count", "2", "--matrix", "64", "--processes", "1")
    done = scanlight(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    with (out / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["000001", "000002"]
    assert [row["label"] for row in rows] == ["0", "1"]
    for row in rows:
        files = list((out / row["path"]).iterdir())
        assert {pydicom.dcmread(file).StationName for file in files} == {row["centre"]}
        assert (out / f"{row['path']}.mask.npz").exists()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    assert scanlight(*arguments).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")} == before
    assert not list(out.glob(".*"))
    other = scanlight(*arguments[:4], "--matrix", "96")
    assert other.returncode == 2
    assert "000001 has images of 64 x 64: choose another folder, or --matrix 64." in other.stderr


def test_a_folder_that_cannot_be_written_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = scanlight("population", str(tmp_path / "file" / "set"), "--count", "1", "--processes", "1")
    assert done.returncode == 2
    assert done.stderr.startswith(str(tmp_path / "file"))
    assert done.stderr.count("\n") == 1
