"""The network without training: a model that says that it is none."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from command import scanlight
from onnx import numpy_helper

from engines.bundle import load_model
from engines.runner import open_engine
from tools.network.configuration import CONFIGURATIONS

pytest.importorskip("torch", reason="needs torch: pip install 'scanlight[train]'")


@pytest.mark.slow
def test_it_is_a_placeholder_of_its_size_and_no_branch_is_silent(tmp_path: Path) -> None:
    done = scanlight("model", "placeholder", "--size", "edge", "--out", tmp_path / "edge.onnx")
    assert done.returncode == 0, done.stderr
    model = load_model(tmp_path / "edge.onnx")
    assert model.spec.intended_use == "placeholder"
    assert model.spec.grid == CONFIGURATIONS["edge"].grid
    filters = [
        numpy_helper.to_array(one) for one in onnx.load(model.path).graph.initializer if len(one.dims) == 5
    ]
    assert len(filters) == 49
    assert all(abs(one).max() > 0 for one in filters)
    with closing(open_engine(model, "cpu")) as engine:
        score = engine.infer(np.full(model.spec.grid.size, 100, np.float32))
    assert 0 < score.probability < 1
    assert score.heatmap.max() > 0


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = scanlight("model", "placeholder", "--size", "edge", "--out", tmp_path / "no" / "edge.onnx")
    assert done.returncode == 2
    assert "No such file or directory. Check the path" in done.stderr
