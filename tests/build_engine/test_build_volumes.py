"""The gate's volumes: enough of them, near the operating point and far from any chest, the same each time."""

from __future__ import annotations

from pathlib import Path

import built_networks as networks
import numpy as np
import pytest
from test_build_parity import silent

from engines.onnxruntime import OnnxRuntimeEngine
from engines.spec import Grid
from tools.build_engine.volumes import FEWEST, NEAR, Chest, Volume, gather, phantoms, read_chests
from tools.phantom import Chest as Request
from tools.phantom import Export, make_chest, write_series
from tools.problem import WrongInput

CHESTS = [Chest(f"chest {n}", networks.chest(-900 + 80 * n, seed=n)) for n in range(10)]


def gathered(folder: Path, *, near: bool = True, point: float = 0.5, slope: float = 40) -> list[Volume]:
    """With a network that flags five of the ten chests."""
    spec = networks.SPEC.model_copy(update={"operating_point": point})
    source = networks.source(networks.network(slope=slope, spec=spec, middle=0.28), folder)
    return gather(OnnxRuntimeEngine(source.file), CHESTS, near, silent)


@pytest.mark.parametrize(("point", "slope"), [(0.5, 40), (0.5, 2000), (0.96, 40), (0.05, 40)])
def test_enough_lie_near_the_operating_point_on_both_sides(
    tmp_path: Path, point: float, slope: float
) -> None:
    made = gathered(tmp_path, point=point, slope=slope)
    assert len(made) >= FEWEST
    away = [one.reference.probability - point for one in made if one.near]
    assert len(away) >= NEAR
    assert all(0.02 <= abs(distance) <= 0.2 for distance in away)
    assert sum(distance > 0 for distance in away) >= 5
    assert sum(distance < 0 for distance in away) >= 5


def test_no_side_is_left_where_a_probability_cannot_be_near(tmp_path: Path) -> None:
    near = [one for one in gathered(tmp_path, point=0.99, slope=100) if one.near]
    assert len(near) >= NEAR
    assert all(0.79 <= one.reference.probability <= 0.97 for one in near)


def test_each_is_another_one_and_the_same_in_every_run(tmp_path: Path) -> None:
    first, second = gathered(tmp_path), gathered(tmp_path)
    assert [one.name for one in first] == [one.name for one in second]
    assert len({one.hu().tobytes() for one in first}) == len(first)
    for one, other in zip(first, second, strict=True):
        assert (one.hu() == other.hu()).all()
        assert one.hu().dtype == np.float32


def test_what_was_scored_is_what_is_made_again(tmp_path: Path) -> None:
    source = networks.source(networks.network(), tmp_path)
    engine = OnnxRuntimeEngine(source.file)
    for one in gather(engine, CHESTS, True, silent):
        assert engine.infer(one.hu()).probability == one.reference.probability


def test_air_bone_noise_and_metal_are_among_them(tmp_path: Path) -> None:
    made = {one.name: one.hu() for one in gathered(tmp_path)}
    assert (made["all air"] == -1024).all()
    assert (made["all bone"] == 1200).all()
    assert made["noise of all densities"].std() > 1000
    assert made["chest 0 with metal"].max() == 30000


def test_a_placeholder_gets_blends_that_are_not_sought(tmp_path: Path) -> None:
    made = gathered(tmp_path, near=False)
    assert len(made) == FEWEST
    assert not any(one.near for one in made)


def test_where_all_chests_flag_there_is_none_near(tmp_path: Path) -> None:
    made = gathered(tmp_path, point=1e-30)
    assert not any(one.near for one in made)
    assert len(made) == FEWEST


@pytest.mark.slow
def test_phantoms_lie_on_the_grid() -> None:
    made = phantoms(networks.SPEC.grid, silent, count=2)
    assert [one.name for one in made] == ["phantom 1", "phantom 2"]
    for one in made:
        assert one.hu.shape == networks.SIZE
        assert -1024 <= one.hu.min() < -900
        assert one.hu.max() > 0


@pytest.mark.slow
def test_a_grid_that_holds_no_chest() -> None:
    with pytest.raises(WrongInput, match="Only 0 of 2 phantoms lie on the model's grid of 4 × 4 × 4 voxels"):
        phantoms(Grid(size=(4, 4, 4), spacing_mm=(5.0, 5.0, 5.0)), silent, count=1)


def test_series_of_the_site(tmp_path: Path) -> None:
    write_series(make_chest(Request("clear", seed=3, slice_mm=5.0, matrix=64)), tmp_path / "one", Export())
    (tmp_path / "notes.txt").write_text("no slice")
    (made,) = read_chests(tmp_path, networks.SPEC.grid, silent)
    assert made.name == "series 1"
    assert made.hu.shape == networks.SIZE
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongInput, match="holds no CT series"):
        read_chests(tmp_path / "empty", networks.SPEC.grid, silent)
