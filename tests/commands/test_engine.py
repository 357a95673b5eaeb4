"""scanlight engine: what a bundle is, and whether it is still that."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from command import scanlight
from sample_bundle import make_bundle

from engines.bundle import default_model, load_model, write_manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def test_inspect_says_what_it_was_built_by_and_for(bundle: Path) -> None:
    said = scanlight("engine", "inspect", str(bundle)).stdout
    for words in (
        "csac-net-edge",
        "demonstration",
        "tensorrt 10.9",
        "8.6",
        "a GPU of another machine, driver 580.65.06",
        "hardware_compatible False",
        "0.0040 over 50 volumes",
        "0.9990",
        hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest(),
    ):
        assert words in said


def test_inspect_as_json(bundle: Path) -> None:
    told = json.loads(scanlight("engine", "inspect", str(bundle), "--json").stdout)
    assert told["model_sha256"] == hashlib.sha256(default_model().read_bytes()).hexdigest()
    assert told["plan"]["parity"]["near"] == 20
    assert told["spec"]["name"] == "csac-net-edge"


def test_a_bare_model_has_no_plan_to_inspect_or_verify() -> None:
    assert "plan none" in " ".join(scanlight("engine", "inspect", str(default_model())).stdout.split())
    refused = scanlight("engine", "verify", str(default_model()))
    assert refused.returncode == 1
    assert "build-engine" in refused.stderr


def test_verify_an_intact_bundle(bundle: Path) -> None:
    verified = scanlight("engine", "verify", str(bundle))
    assert verified.returncode == 0
    files, answers, gpu = verified.stdout.splitlines()
    assert files == "bundle: every file is as it was built"
    assert answers.startswith("bundle: 2 known answers are right on cpu")
    assert gpu.startswith("bundle: not tried on a GPU, since tensorrt is not installed")


def test_verify_tells_another_tensorrt_also_without_a_gpu(tmp_path: Path) -> None:
    """In one sentence, with the command that builds it again for the same GPUs."""
    installed = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: make rtx").__version__
    built = {"flavour": "rtx", "tensorrt": "1.2.0.54", "device": None}
    bundle = make_bundle(tmp_path / "bundle", **built)
    refused = scanlight("engine", "verify", bundle)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"bundle bundle was built by tensorrt-rtx 1.2.0.54 and {installed} is installed: build it again with"
        f" scanlight build-engine {bundle}/model.onnx --out NEW --flavour rtx --compute-capability 8.6\n"
    )


def test_verify_fails_where_tensorrt_is_installed_and_broken(bundle: Path, tmp_path: Path) -> None:
    """What is not there may be missing; what is there must work."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: no such file')")
    refused = scanlight("engine", "verify", bundle, env={"PYTHONPATH": str(tmp_path / "broken")})
    assert refused.returncode == 1
    assert refused.stderr.startswith("tensorrt is installed and cannot be loaded (libnvinfer.so.10: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["inspect", "verify"])
@pytest.mark.parametrize("name", ["engine.plan", "model.onnx", "manifest.json"])
def test_one_flipped_byte_is_refused(bundle: Path, command: str, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (bundle / name).write_bytes(content)
    refused = scanlight("engine", command, str(bundle))
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith("copy it again")
    assert refused.stdout == ""


def test_verify_a_bundle_that_comes_without_an_answer(bundle: Path) -> None:
    model = load_model(bundle)
    assert model.bundle is not None
    (bundle / "known-answers.json").write_text("{}")
    write_manifest(bundle, "model.onnx", model.spec, model.bundle.info)
    refused = scanlight("engine", "verify", str(bundle))
    assert refused.returncode == 1
    assert refused.stderr.startswith("bundle on cpu (onnxruntime ")
    assert refused.stderr.endswith(": The bundle comes without a known answer: build the bundle again.\n")


def test_verify_a_bundle_that_answers_otherwise(tmp_path: Path) -> None:
    refused = scanlight("engine", "verify", str(make_bundle(tmp_path / "other", probability_off=0.3)))
    assert refused.returncode == 1
    assert refused.stderr.startswith("other on cpu (onnxruntime ")
    assert "Known answers differ" in refused.stderr
    assert refused.stderr.count("\n") == 1
