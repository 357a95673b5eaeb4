"""scanlight build-engine from a model to a bundle, or to one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import built_networks as networks
import onnx
import pytest
import yaml
from command import scanlight

from appliance.known_answers import render
from engines.bundle import default_model, embedded_model, load_model
from engines.runner import open_engine
from tools.build_engine.graph import element_types
from tools.expected_answers import answers

HOUR_S = 3600
"""On a machine that others use."""

FILES = {
    *("model.onnx", "model.fp16.onnx", "engine.plan", "known-answers.json", "parity.json", "parity.html"),
    *("manifest.json", "manifest.sha256"),
}


def needs_rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: make rtx")


def check_bundle(bundle: Path, model: Path | None = None) -> dict[str, object]:
    """What its parity report measured."""
    assert {one.name for one in bundle.iterdir()} == FILES
    loaded = load_model(bundle)
    assert loaded.bundle is not None
    assert loaded.bundle.plan.startswith(b"vtrt")
    if model is not None:
        assert loaded.content == model.read_bytes()
    assert loaded.bundle.known_answers.decode() == render(answers(open_engine(loaded, "cpu")))
    fp16 = onnx.load(bundle / "model.fp16.onnx")
    onnx.checker.check_model(fp16, full_check=True)
    kinds = element_types(fp16)
    convolutions = [node.output[0] for node in fp16.graph.node if node.op_type == "Conv"]
    half = sum(kinds[name] == onnx.TensorProto.FLOAT16 for name in convolutions)
    assert half >= 0.9 * len(convolutions)
    measured: dict[str, object] = json.loads((bundle / "parity.json").read_bytes())["measured"]
    assert loaded.bundle.info.parity.model_dump() == measured
    return measured


def failed(folder: Path, *words: str | Path) -> str:
    """The one sentence of a run that wrote nothing; its exit code is in front."""
    before = {one.name for one in folder.iterdir()}
    done = scanlight("build-engine", *words, "--out", folder / "bundle", timeout_s=HOUR_S)
    assert {one.name for one in folder.iterdir()} == before
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return f"{done.returncode}: {done.stderr}"


def test_what_is_wrong_is_told_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    onnx.save(networks.network(), path)
    assert failed(tmp_path, tmp_path / "none.onnx").startswith(f"2: {tmp_path}/none.onnx does not exist")
    (tmp_path / "bundle").write_text("a letter")
    assert "is no bundle" in failed(tmp_path, path)


def test_tensorrt_that_is_not_installed(tmp_path: Path) -> None:
    """A folder in front of Python's path hides it, as if it were not there."""
    path = tmp_path / "small.onnx"
    onnx.save(networks.network(), path)
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "tensorrt_rtx.py").write_text("raise ModuleNotFoundError('no tensorrt_rtx')")
    done = scanlight(
        "build-engine", path, "--out", tmp_path / "bundle", env={"PYTHONPATH": str(tmp_path / "hidden")}
    )
    assert done.returncode == 2
    assert done.stderr.startswith("tensorrt-rtx is not installed: ")
    assert done.stderr.count("\n") == 1


def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("a GPU is here")
    path = tmp_path / "small.onnx"
    onnx.save(networks.network(), path)
    said = failed(tmp_path, path, "--flavour", "enterprise")
    assert said.startswith("2: --flavour enterprise builds on the GPU that the plan is for")
    assert said.count("\n") == 1


def build(folder: Path, *words: str | Path) -> str:
    """What a run said that wrote a bundle."""
    done = scanlight("build-engine", *words, "--out", folder / "bundle", timeout_s=HOUR_S)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


WHEN_THERE_IS_TIME = pytest.mark.skipif(
    "SCANLIGHT_BUILD_ALL" not in os.environ, reason="takes minutes of all cores: SCANLIGHT_BUILD_ALL=1"
)


@pytest.mark.slow
@WHEN_THERE_IS_TIME
def test_the_demonstration_model(tmp_path: Path) -> None:
    needs_rtx()
    said = build(tmp_path, default_model())
    assert "for 8.0, 8.6, 8.9, 12.0" in said
    measured = check_bundle(tmp_path / "bundle", default_model())
    assert measured["trained"] is True
    assert measured["near"] >= 20
    assert measured["largest_delta"] <= 0.01
    assert measured["lowest_correlation"] >= 0.99


@pytest.mark.slow
@WHEN_THERE_IS_TIME
def test_the_full_network_without_training(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install 'scanlight[train]'")
    needs_rtx()
    model = tmp_path / "full.onnx"
    assert scanlight("model", "placeholder", "--size", "full", "--out", model).returncode == 0
    assert "has no trained weights" in build(tmp_path, model)
    measured = check_bundle(tmp_path / "bundle", model)
    assert (measured["trained"], measured["volumes"]) == (False, 50)


@pytest.mark.slow
def test_the_densitometry_model(tmp_path: Path) -> None:
    needs_rtx()
    model = embedded_model("densitometry")
    assert "has no trained weights" in build(tmp_path, model)
    measured = check_bundle(tmp_path / "bundle", model)
    assert measured["trained"] is False


@pytest.mark.slow
def test_a_network_that_overflows_fp16_gets_no_bundle(tmp_path: Path) -> None:
    needs_rtx()
    path = tmp_path / "small.onnx"
    onnx.save(networks.network(gain=2e5, middle=networks.PHANTOMS), path)
    said = failed(tmp_path, path)
    assert said.startswith("1: No bundle was written: ")
    assert "volumes differ in FP16 (" in said
    assert "it is not finite" in said
    assert "layers hold more than the largest number of FP16, 65504 (first, first_relu, pooled" in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_a_keras_model_with_its_specification_in_yaml(tmp_path: Path) -> None:
    needs_rtx()
    onnx.save(networks.keras(), tmp_path / "keras.onnx")
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(networks.KERAS_SPEC.model_dump(mode="json")))
    build(tmp_path, tmp_path / "keras.onnx", "--spec", spec)
    measured = check_bundle(tmp_path / "bundle")
    assert measured["near"] >= 20
    assert load_model(tmp_path / "bundle").spec == networks.KERAS_SPEC
