"""A small data set with lesion masks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.phantom.chest import Chest, Kind
from tools.phantom.command import write_mask
from tools.phantom.dicom import write_series
from tools.phantom.make import make_chest

KINDS: tuple[Kind, ...] = ("covid", "cap", "covid", "clear", "covid", "clear")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patients in two centres, labels.csv beside them."""
    root = tmp_path_factory.mktemp("data")
    lines = ["path,label,group,centre"]
    for seed, kind in enumerate(KINDS, 1):
        made = make_chest(Chest(kind, seed, slice_mm=5.0, matrix=64))
        write_series(made, root / str(seed))
        write_mask(made, root / f"{seed}.mask.npz")
        lines.append(f"{seed},{int(kind == 'covid')},{kind},{'a' if seed < 5 else 'b'}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root
