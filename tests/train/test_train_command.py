"""Training as a command: it is killed and goes on, and what it writes is a model."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from command import in_this_process, program, scanlight

pytest.importorskip("torch", reason="needs torch: pip install 'scanlight[train]'")

from engines.bundle import load_model
from tools.train.checkpoint import read_checkpoint
from tools.train.export import training_of

pytestmark = pytest.mark.slow

SMALL = ("--size", "edge", "--threads", "1", "--cpu", "--validate", "0.34")
CROPS = ("--method", "curriculum", "--epochs", "1", "--batch", "2")
VOLUMES = ("--method", "paper", "--epochs", "2", "--batch", "2")


def command(data: Path, out: Path, *words: str) -> list[str]:
    where = ["--data", str(data), "--out", str(out), "--cache", str(data.parent / "volumes")]
    return ["train", *where, *SMALL, *words]


BRIEFLY = "import tools.train.recipe as recipe; recipe.CROP_STEPS, recipe.HEAD_STEPS = 20, 60"
"""The curriculum has fewer steps."""


def trained(data: Path, out: Path, *words: str) -> str:
    done = scanlight(*command(data, out, *words), changed=BRIEFLY)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def refused(data: Path, out: Path, *words: str) -> str:
    """What is said of something wrong; in this process, which has PyTorch in memory already."""
    done = in_this_process(*command(data, out, *words))
    assert done.exit_code == 2, done.output
    return done.output


@pytest.fixture(scope="session")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """The folder of a training that nothing disturbed, once for all tests."""

    @cache
    def out(words: tuple[str, ...]) -> Path:
        folder = tmp_path_factory.mktemp("whole")
        trained(data, folder, *words)
        return folder

    return out


def weights(out: Path) -> str:
    found = training_of(out / "model.onnx")["weights_sha256"]
    assert isinstance(found, str)
    return found


def killed(data: Path, out: Path, *words: str, course: int = 0) -> bool:
    """Starts it, and kills it after the next checkpoint of a course; whether it had ended before."""
    checkpoint = out / "checkpoint.pt"
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    process = subprocess.Popen(
        [*program(BRIEFLY), *command(data, out, *words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                progress = read_checkpoint(checkpoint).progress
                if progress.course >= course and (progress.step or not course):
                    break
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode == 0


@pytest.mark.parametrize(
    "words", [CROPS, VOLUMES, (*VOLUMES, "--network", "resnet")], ids=["crops", "volumes", "resnet"]
)
def test_a_run_that_was_killed_again_and_again_ends_with_the_same_weights(
    data: Path, tmp_path: Path, whole: Callable[[tuple[str, ...]], Path], words: tuple[str, ...]
) -> None:
    often = ("--checkpoint-every", "0")
    steps = set()
    for _ in range(2):
        assert not killed(data, tmp_path / "broken", *words, *often)
        progress = read_checkpoint(tmp_path / "broken" / "checkpoint.pt").progress
        steps.add((progress.course, progress.step))
    assert len(steps) > 1, "it went on from where it was"
    if words is CROPS:
        assert not killed(data, tmp_path / "broken", *words, *often, course=1)
        assert read_checkpoint(tmp_path / "broken" / "checkpoint.pt").progress.course == 1, (
            "in the head's fit"
        )
    trained(data, tmp_path / "broken", *words)
    undisturbed = whole(words)
    assert weights(tmp_path / "broken") == weights(undisturbed)
    for name in ("curves.csv", "validation.csv", "model.onnx"):
        assert (tmp_path / "broken" / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_what_comes_out_is_a_model_with_its_card(data: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.yaml"
    card.write_text("name: tried\nversion: 0.0.1\nintended_use: demonstration\nlicence: MIT\n")
    out = tmp_path / "out"
    said = trained(data, out, *CROPS, "--card", str(card), "--test-centre", "b", "--want-sensitivity", "1")
    assert "test: 2 series, 1 positive, AUC" in said
    model = load_model(out / "model.onnx")
    assert (model.spec.name, model.spec.version, model.spec.intended_use) == (
        "tried",
        "0.0.1",
        "demonstration",
    )
    assert model.spec.grid.size == (80, 128, 128)
    assert model.spec.trained_on == "2 series of 2 patients, 1 positive"
    about = training_of(out / "model.onnx")
    assert about["recipe"]["method"] == "curriculum"
    assert about["data"]["test"] == {"series": 2, "positive": 1, "patients": 2, "centres": ["b"]}
    assert model.spec.operating_point == about["operating_point"]
    at = about["validation"]["at"]
    assert (at["tp"], at["fn"]) == (about["validation"]["positive"], 0)

    with (out / "test.csv").open() as file:
        scores = {row["id"]: float(row["probability"]) for row in csv.DictReader(file)}
    done = scanlight("read", data / "5", "--json", "--model", out / "model.onnx")
    (record,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert record["probability"] == pytest.approx(scores["5"], abs=2e-3), "volumes are kept to half a unit"
    assert (out / "curves.png").read_bytes()[:4] == b"\x89PNG"

    again = tmp_path / "again.onnx"
    assert not scanlight("model", "export", out / "checkpoint.pt", again).returncode
    assert again.read_bytes() == (out / "model.onnx").read_bytes(), "a demonstration stays one"
    card.write_text("intended_use: research\n")
    assert not scanlight("model", "export", out / "checkpoint.pt", again, "--card", card).returncode
    assert load_model(again).spec.intended_use == "research"


def test_training_ends_when_the_validation_loss_does_not_fall(data: Path, tmp_path: Path) -> None:
    words = ("--method", "paper", "--epochs", "30", "--batch", "4", "--rate", "0.1", "--early-stop", "1")
    trained(data, tmp_path, *words)
    with (tmp_path / "curves.csv").open() as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    assert len(losses) < 30
    assert losses[-1] >= min(losses[:-1])


def test_what_is_wrong_is_one_sentence(
    data: Path, tmp_path: Path, whole: Callable[[tuple[str, ...]], Path]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole(CROPS), out)
    assert "of another training (epochs 1, now 2)" in refused(data, out, *CROPS[:3], "2", *CROPS[4:])
    assert "other data or another split" in refused(data, out, *CROPS, "--test-centre", "b")
    (out / "checkpoint.pt").write_bytes(b"nothing")
    assert "is no checkpoint of scanlight train" in refused(data, out, *CROPS)
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in "123456":
        (bare / name).symlink_to(data / name)
    (bare / "labels.csv").write_bytes((data / "labels.csv").read_bytes())
    assert "no positive case of the data set has a mask" in refused(bare, tmp_path / "o", *CROPS)
    one = tmp_path / "one.csv"
    one.write_text("path,label\n1,1\n3,1\n5,1\n")
    said = refused(data, tmp_path / "p", *CROPS, "--labels", str(one))
    assert "are all of one class" in said
    card = tmp_path / "card.yaml"
    for text, what in (("nmae: x\n", "nmae:"), ("version: ''\n", "version:")):
        card.write_text(text)
        assert f"card.yaml: {what}" in refused(data, tmp_path / "q", *CROPS, "--card", str(card))
    none = ("--validate", "0")
    said = refused(data, tmp_path / "q", *CROPS, *none, "--want-sensitivity", "0.9")
    assert "--want-sensitivity is decided by the validation set, which has 0 series" in said
    said = refused(data, tmp_path / "q", *VOLUMES, *none, "--early-stop", "1")
    assert "--early-stop is decided by the validation set" in said
    assert "no series is left to score" in refused(data, tmp_path / "q", "--network", "svm", *none)
    assert "--early-stop is for the paper's method" in refused(
        data, tmp_path / "q", *CROPS, "--early-stop", "1"
    )
    assert "are of one patient" in refused(data, tmp_path / "q", *CROPS, "--held-out", str(data))


@pytest.mark.parametrize("kind", ["logistic", "svm", "forest"])
def test_baselines_on_density_write_scores(data: Path, tmp_path: Path, kind: str) -> None:
    words = ("--network", kind, "--held-out", str(data))
    assert "are of one patient" in refused(data, tmp_path, *words)
    said = trained(data, tmp_path, "--network", kind, "--validate", "0.34")
    assert f"scores of {kind}, flags from 0.5" in said
    assert "validation: 2 series, 1 positive, AUC" in said
    with (tmp_path / "validation.csv").open() as file:
        assert all(0 <= float(row["probability"]) <= 1 for row in csv.DictReader(file))
    assert not (tmp_path / "model.onnx").exists()
