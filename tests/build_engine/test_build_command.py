"""scanlight build-engine from a model to a bundle, or to one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import built_networks as networks
import onnx
import pytest
import yaml
from click.testing import Result
from command import in_this_process, scanlight
from file_systems import mount, unmount
from test_build_parity import silent

from appliance.known_answers import render
from engines.bundle import default_model, load_model
from engines.runner import open_engine
from tools.build_engine.graph import element_types
from tools.build_engine.settle import share_of
from tools.build_engine.source import read_source
from tools.build_engine.volumes import Chest, phantoms
from tools.expected_answers import answers
from tools.gpu.settled import settled
from tools.network.placeholder import untrained
from tools.phantom import Chest as Request
from tools.phantom import Export, make_chest, write_series

HOUR_S = 3600
"""On a machine that others use."""

GENTLY = ("nice", "-n", "19")
"""Minutes of all processors, which tests that keep time beside them need."""

FILES = {
    *("model.onnx", "model.fp16.onnx", "engine.plan", "known-answers.json", "parity.json", "parity.html"),
    *("manifest.json", "manifest.sha256"),
}


WHEN_THERE_IS_TIME = pytest.mark.skipif(
    "SCANLIGHT_BUILD_ALL" not in os.environ, reason="takes minutes of all cores: make builds"
)


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
    done = scanlight("build-engine", *words, "--out", folder / "bundle", timeout_s=HOUR_S, before=GENTLY)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow
@pytest.mark.builds
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
    # make gpu-check builds with what the gate asked for on some processor, which tips it; no less elsewhere.
    kept = settled(load_model(tmp_path / "bundle").digest)
    assert kept is not None, "a new model: python -m tools.gpu.settled BUNDLE"
    report = json.loads((tmp_path / "bundle" / "parity.json").read_bytes())
    graph = read_source(default_model()).graph
    assert report["multiply_adds_in_fp32"] <= share_of(graph, kept) + 0.02


@pytest.mark.slow
@pytest.mark.builds
@WHEN_THERE_IS_TIME
def test_the_full_network_without_training(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install 'scanlight[train]'")
    needs_rtx()
    model = tmp_path / "full.onnx"
    assert scanlight("model", "placeholder", "--size", "full", "--out", model).returncode == 0
    assert "has no trained weights" in build(tmp_path, model)
    measured = check_bundle(tmp_path / "bundle", model)
    assert measured["trained"] is False
    assert measured["volumes"] >= 50


@pytest.fixture(scope="module")
def people() -> list[Chest]:
    """For every small network the same, made once: they take most of a small build's time."""
    return phantoms(networks.SPEC.grid, silent, count=12)


Run = Callable[..., Result]


@pytest.fixture
def run(people: list[Chest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command in this process, on a model in a folder of its own."""
    needs_rtx()
    monkeypatch.setattr("tools.build_engine.command.phantoms", lambda *_: people)

    def build_engine(model: onnx.ModelProto, *words: str | Path) -> Result:
        (tmp_path / "model").mkdir()
        onnx.save(model, tmp_path / "model" / "small.onnx")
        small = tmp_path / "model" / "small.onnx"
        done = in_this_process("build-engine", small, "--out", tmp_path / "bundle", *words)
        assert (tmp_path / "bundle").exists() == (done.exit_code == 0)
        assert {one.name for one in tmp_path.iterdir()} <= {"bundle", "model", "given"}
        return done

    return build_engine


@pytest.fixture
def few_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate on a dozen volumes: on all of them two networks take ten minutes, with `make builds`."""
    for module in ("volumes", "parity"):
        monkeypatch.setattr(f"tools.build_engine.{module}.FEWEST", 12)
        monkeypatch.setattr(f"tools.build_engine.{module}.NEAR", 4)
    monkeypatch.setattr("tools.build_engine.command.phantoms", partial(phantoms, count=4))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["demonstration", "full"])
def test_each_network_is_built_for_the_default_gpus(size: str, few_volumes: None, tmp_path: Path) -> None:
    needs_rtx()
    model = default_model()
    if size == "full":
        pytest.importorskip("torch", reason="needs torch: pip install 'scanlight[train]'")
        model = tmp_path / "full.onnx"
        model.write_bytes(untrained("full"))
    done = in_this_process("build-engine", model, "--out", tmp_path / "bundle")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "for 8.0, 8.6, 8.9, 12.0" in done.stdout
    assert ("has no trained weights" in done.stdout) == (size == "full")
    assert check_bundle(tmp_path / "bundle", model)["volumes"] >= 12


def no_bundle(done: Result) -> str:
    """Why a model has none, in one sentence."""
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("No bundle was written: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def built(done: Result, folder: Path) -> dict[str, object]:
    """What a run that wrote a bundle measured."""
    assert (done.exit_code, done.stderr) == (0, "")
    return check_bundle(folder / "bundle")


MODERATE = networks.network(middle=networks.PHANTOMS)


@pytest.mark.slow
def test_a_network_that_overflows_fp16_gets_no_bundle(run: Run) -> None:
    said = no_bundle(run(networks.network(gain=2e5, middle=networks.PHANTOMS)))
    assert "volumes differ in FP16 (" in said
    assert "a heatmap that is not finite" in said
    layers = "Conv constant_4, Relu first_relu, MaxPool pooled"
    assert f"layers hold more than the largest number of FP16, 65504 ({layers}" in said
    assert "normalise before these layers" in said


@pytest.mark.slow
def test_a_network_that_rounding_changes_gets_no_bundle_and_its_layers_are_named(run: Run) -> None:
    said = no_bundle(run(networks.network(slope=20000, middle=networks.PHANTOMS)))
    assert "the probability is " in said
    assert "; most comes from Conv constant_" in said or "; most comes from Clip clipped (" in said
    assert said.endswith("does not mend it, so read with the CPU engine.\n")


@pytest.mark.slow
def test_a_network_that_stays_mostly_in_fp32_is_no_fp16_engine(run: Run) -> None:
    said = no_bundle(run(networks.network(gain=1e-7, scale=50.0)))
    assert "67 % of the multiply-adds would stay in FP32, more than 20 % (" in said
    assert "a constant of it is beyond the range of FP16" in said


def test_a_worker_that_the_kernel_ended_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr("tools.build_engine.command.phantoms", ended)
    done = run(networks.network())
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("This machine ran out of memory: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_disk_that_is_full_is_said_with_the_bundle(tmp_path: Path, run: Run) -> None:
    (tmp_path / "given").mkdir()
    mount("-t", "tmpfs", "-o", "size=200k", "none", tmp_path / "given")
    try:
        path = tmp_path / "small.onnx"
        onnx.save(MODERATE, path)
        done = in_this_process("build-engine", path, "--out", tmp_path / "given" / "bundle")
        path.unlink()
        assert done.exit_code == 2
        assert f"{tmp_path}/given/bundle cannot be written (No space left on device)" in done.stderr
        assert list((tmp_path / "given").iterdir()) == []
    finally:
        unmount(tmp_path / "given")


@pytest.mark.slow
def test_a_network_that_no_phantom_moves_asks_for_series(run: Run) -> None:
    """Also where Turing is named, which is not what keeps it."""
    said = no_bundle(run(networks.network(middle=5.0), "--compute-capability", "7.5"))
    assert "20 of them with a probability near the operating point, and could make 50 and 0" in said
    assert said.endswith("with --series.\n")


@pytest.mark.slow
def test_turing_gets_all_in_fp16(run: Run, tmp_path: Path) -> None:
    built(run(MODERATE, "--compute-capability", "8.6", "--compute-capability", "7.5"), tmp_path)
    plan = load_model(tmp_path / "bundle").bundle
    assert plan is not None
    assert plan.info.compute_capabilities == ("7.5", "8.6")
    kinds = element_types(onnx.load(tmp_path / "bundle" / "model.fp16.onnx"))
    assert kinds["logit__fp16" if "logit__fp16" in kinds else "logit"] == onnx.TensorProto.FLOAT16
    assert json.loads((tmp_path / "bundle" / "parity.json").read_bytes())["in_fp32"] == []


@pytest.mark.slow
def test_turing_is_refused_where_parity_needs_fp32(run: Run) -> None:
    """A mean that is rounded to FP16 is far off for a probability as steep as this, whose maps are not."""
    said = no_bundle(
        run(networks.network(slope=800, middle=networks.PHANTOMS), "--compute-capability", "7.5")
    )
    assert said.endswith(
        "leave --compute-capability 7.5 out, whose GPUs allow no FP32 where it would help.\n"
    )


@pytest.mark.slow
def test_series_of_the_site_are_judged_too(run: Run, tmp_path: Path) -> None:
    site = tmp_path / "given"
    write_series(make_chest(Request("covid", seed=3, slice_mm=5.0, matrix=64)), site / "one", Export())
    built(run(MODERATE, "--series", site), tmp_path)
    rows = json.loads((tmp_path / "bundle" / "parity.json").read_bytes())["volumes"]
    names = {row["volume"] for row in rows}
    assert {"series 1", "phantom 12", "known answer clear", "known answer covid-left"} <= names


@pytest.mark.slow
def test_a_model_without_training_says_so(run: Run, tmp_path: Path) -> None:
    spec = networks.SPEC.model_copy(update={"intended_use": "placeholder"})
    done = run(networks.network(spec=spec))
    assert built(done, tmp_path)["trained"] is False
    assert "has no trained weights" in done.stdout


@pytest.mark.slow
def test_a_keras_model_with_its_specification_in_yaml(run: Run, tmp_path: Path) -> None:
    spec = tmp_path / "given"
    spec.write_text(yaml.safe_dump(networks.KERAS_SPEC.model_dump(mode="json")))
    assert built(run(networks.keras(), "--spec", spec), tmp_path)["near"] >= 20
    assert load_model(tmp_path / "bundle").spec == networks.KERAS_SPEC


@pytest.mark.slow
def test_a_build_that_is_ended_leaves_no_process(tmp_path: Path) -> None:
    needs_rtx()
    onnx.save(MODERATE, tmp_path / "small.onnx")
    line = (*GENTLY, sys.executable, "-m", "appliance", "build-engine", "small.onnx", "--out", "bundle")
    with subprocess.Popen(line, cwd=tmp_path) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until = time.monotonic() + 60
        while len(workers := children.read_text().split()) < 3:
            assert time.monotonic() < until
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
    until = time.monotonic() + 30
    while alive := [one for one in workers if Path("/proc", one).exists()]:
        assert time.monotonic() < until, alive
        time.sleep(0.1)
    assert [one.name for one in tmp_path.iterdir()] == ["small.onnx"]
