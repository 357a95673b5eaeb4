"""scanlight evaluate from images: the appliance's own reading, joined with labels."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from engines.bundle import embedded_model
from tools.phantom import Chest, Export, write_localizer

Evaluated = Callable[..., dict[str, Any]]
Refused = Callable[..., str]
SmallChest = Callable[[str], list[Path]]

MODEL = ("--model", embedded_model("densitometry"))


@pytest.fixture(scope="module")
def folder(small_chest: SmallChest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two chests, one with a localizer beside it; half of one; a file that is damaged."""
    root = tmp_path_factory.mktemp("images")
    for kind in ("covid", "clear"):
        copies(small_chest(kind), root / kind)
    write_localizer(Chest(kind="covid", seed=3, slice_mm=5.0, matrix=128), root / "covid" / "scout", Export())
    half = small_chest("clear")[: len(small_chest("clear")) // 2]
    for file in copies(half, root / "half"):
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID = "1.2.3.4"
        dataset.save_as(file)
    return root


def copies(files: list[Path], into: Path) -> list[Path]:
    into.mkdir()
    made = []
    for file in files:
        made.append(into / file.name)
        made[-1].write_bytes(file.read_bytes())
    return made


def labels(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_series_are_scored_and_none_is_dropped(folder: Path, evaluated: Evaluated, tmp_path: Path) -> None:
    table = labels(
        tmp_path / "labels.csv",
        "path;label;centre\ncovid;1;A\nclear/;0;A\nhalf;0;B\nlost;1;B\n",
    )
    out = tmp_path / "report"
    found = evaluated("--images", folder, "--labels", table, *MODEL, "--out", out)
    whole = found["comparisons"][0]
    assert (whole["positives"], whole["negatives"], whole["auc"]["value"]) == (1, 1, 1)
    assert found["model"].startswith("densitometry")
    assert [(one["name"], one["label"], one["why"]) for one in found["not_scored"]] == [
        ("half", 0, "not analysed: incomplete lung"),
        ("lost", 1, "no such series in the folder"),
    ]
    assert found["without_label"] == []
    html = (out / "report.html").read_text()
    assert "Labelled and not scored: 2" in html
    rows = list(csv.DictReader((out / "scores.csv").open()))
    assert [(one["path"], one["label"], one["centre"]) for one in rows] == [
        ("covid", "1", "A"),
        ("clear/", "0", "A"),
    ]
    again = evaluated(out / "scores.csv", "--compare", out / "scores.csv")
    assert again["comparisons"] == found["comparisons"]
    assert again["other"]["test"]["difference"] == 0


def test_labels_by_series_uid_and_series_without_a_label(
    folder: Path, small_chest: SmallChest, evaluated: Evaluated, tmp_path: Path
) -> None:
    uids = [pydicom.dcmread(small_chest(kind)[0]).SeriesInstanceUID for kind in ("covid", "clear")]
    table = labels(tmp_path / "labels.csv", f"series_uid,group\n{uids[0]},COVID\n{uids[1]},NP\n")
    found = evaluated("--images", folder, "--labels", table, *MODEL, "--positive", "COVID")
    assert found["comparisons"][0]["auc"]["value"] == 1
    assert sorted(one["why"] for one in found["without_label"]) == [
        "not analysed: incomplete lung",
        "skipped: localizer",
    ]
    assert json.dumps(found["without_label"]).count("1.2.3.4") >= 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "path,label\ncovid,1\ncovid/../covid,0\n",
            "line 3, column path: it is the series of line 2",
        ),
        ("path,label\n.,1\nclear,0\n", "line 2, column path: it holds 2 scored series"),
        ("path,label\nhalf,1\nlost,0\n", "None of the 2 labelled series"),
        ("path,label\ncovid,1\nhalf,0\n", "none of the 1 scored cases is labelled negative"),
        ("file,label\ncovid,1\n", "there is no column 'path' (or series_uid, to find the series of a label)"),
    ],
    ids=["twice", "several", "none", "one class", "no column"],
)
def test_labels_that_do_not_fit(
    text: str, sentence: str, folder: Path, tmp_path: Path, joined: Callable[[Path], str]
) -> None:
    assert sentence in joined(labels(tmp_path / "labels.csv", text))


@pytest.fixture(scope="module")
def joined(folder: Path) -> Callable[[Path], str]:
    """What joining labels with the folder, which is read once, ends with."""
    from tools.evaluate.images import join, read_tree
    from tools.problem import WrongInput
    from tools.sheet import read_sheet

    tree = read_tree(folder, MODEL[1], lambda what, done, total: None)

    def ended(table: Path) -> str:
        with pytest.raises(WrongInput) as told:
            join(tree, folder, read_sheet(table), None)
        return str(told.value)

    return ended


def test_a_model_that_cannot_be_used_is_told_of(folder: Path, refused: Refused, tmp_path: Path) -> None:
    table = labels(tmp_path / "labels.csv", "path,label\ncovid,1\nclear,0\n")
    model = labels(tmp_path / "model.onnx", "no model")
    assert "model.onnx" in refused("--images", folder, "--labels", table, "--model", model)
