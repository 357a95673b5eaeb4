"""The demonstration model is what its card says."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from command import scanlight

from engines.bundle import default_model, embedded_model, load_model
from tools.evaluate.delong import auc_with_interval

ROOT = Path(__file__).parents[2]
CARD = (ROOT / "docs/model.md").read_text(encoding="utf-8")
HELD_OUT = Path(__file__).parent / "held-out-scores.csv"
"""What `scanlight evaluate` wrote of the 200 phantoms of seeds 900001 to 900200."""

MODEL = embedded_model("csac-net-edge")
HELD_OUT_COUNT = 200


def held_out() -> dict[str, tuple[bool, float]]:
    with HELD_OUT.open(encoding="utf-8") as file:
        return {row["path"]: (row["label"] == "1", float(row["probability"])) for row in csv.DictReader(file)}


def auc() -> float:
    positive, scores = zip(*held_out().values(), strict=True)
    return auc_with_interval(np.array(scores), np.array(positive))[0]


def test_it_ships_and_says_that_it_is_a_demonstration() -> None:
    assert default_model() == MODEL
    assert MODEL.stat().st_size < 10_000_000
    spec = load_model(MODEL).spec
    assert spec.intended_use == "demonstration"
    assert "never seen a patient" in spec.notice
    assert f"operating point | {spec.operating_point:g}:" in CARD


def test_recipe_data_and_results_are_in_the_file_and_in_the_card() -> None:
    pytest.importorskip("torch", reason="needs torch: pip install 'scanlight[train]'")
    from tools.train.export import training_of

    about = training_of(MODEL)
    assert (about["recipe"]["method"], about["recipe"]["seed"]) == ("curriculum", 1)
    assert f"| weights, SHA-256 | `{about['weights_sha256']}` |" in CARD
    assert f"taught by | {about['data']['train']['series']} phantoms" in CARD
    assert about["test"]["series"] == HELD_OUT_COUNT
    assert about["test"]["auc"] == pytest.approx(auc(), abs=2e-3)
    assert about["validation"]["at"]["tp"] / about["validation"]["positive"] >= 0.95


def test_its_layers_are_the_papers() -> None:
    graph = onnx.load(MODEL).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    atrous = [
        node
        for node in convolutions
        for attribute in node.attribute
        if attribute.name == "dilations" and max(attribute.ints) > 1
    ]
    counts = Counter(node.op_type for node in graph.node)
    assert (len(convolutions) - len(atrous), len(atrous)) == (39, 10)
    assert (counts["MaxPool"], counts["Gemm"]) == (3 + 5, 3)


def test_on_held_out_phantoms_its_auc_is_what_the_card_says() -> None:
    assert [int(name) for name in held_out()] == list(range(900_001, 900_001 + HELD_OUT_COUNT))
    assert auc() >= 0.95
    assert f"| `csac-net-edge` | {auc():.3f} " in CARD


@pytest.mark.slow
def test_the_scores_are_those_of_the_phantoms_and_the_model_of_today(tmp_path: Path) -> None:
    first = 900_011
    done = scanlight("population", tmp_path, "--count", "3", "--seed", str(first), "--processes", "1")
    assert done.returncode == 0, done.stderr
    for seed in range(first, first + 3):
        found = read(tmp_path / str(seed))
        assert found == pytest.approx(held_out()[str(seed)][1], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["covid-P001", "cap-001", "normal-001"])
def test_the_card_reports_the_real_chests_as_they_are(name: str, real_data: Callable[[str], Path]) -> None:
    (told,) = re.findall(rf"^\| `{name}` \| (\S+) \|", CARD, re.MULTILINE)
    assert read(real_data(name)) == pytest.approx(float(told), abs=1e-3)


def read(folder: Path) -> float:
    done = scanlight("read", folder, "--json", "--model", MODEL)
    (found,) = [json.loads(line)["probability"] for line in done.stdout.splitlines()]
    assert isinstance(found, float)
    return found
