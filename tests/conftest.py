"""What many tests share: real data where it is at hand, phantoms made once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.phantom import Chest, Export, Kind, make_chest, write_series

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SCANLIGHT_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """A folder of the real series by its name; the test is skipped where it is missing."""

    def folder(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"real data {name} is not in $SCANLIGHT_DATA")
        return DATA / name

    return folder


@pytest.fixture(scope="session")
def small_chest(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], list[Path]]:
    """The files of a small chest phantom, in the scanner's order; made once for all tests."""
    made: dict[Kind, list[Path]] = {}

    def files(kind: Kind) -> list[Path]:
        if kind not in made:
            chest = Chest(kind=kind, seed=3, slice_mm=5.0, matrix=128)
            made[kind] = write_series(make_chest(chest), tmp_path_factory.mktemp(kind), Export())
        return made[kind]

    return files
