"""What is built on the GPU itself, with the tests' driver and TensorRT-RTX in the place of TensorRT.

Their builders take the same calls; TensorRT-RTX needs no GPU for them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import small_network, write_bundle
from command import scanlight
from shim import ROOT

pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: make rtx")

BUILD = """
import json, sys
from pathlib import Path
import onnx
from tools.build_engine.plan import Target, _free_memory, build, check_target
from tools.build_engine.precision import mixed
from tools.build_engine.settle import always_fp32
from tools.build_engine.source import read_source
from engines.nvidia import load_cuda
import shim

graph = read_source(Path(sys.argv[1])).graph
target = Target("enterprise")
check_target(target)
plan = build(mixed(graph, frozenset(always_fp32(graph, False))), target, lambda *_: None)
cuda = load_cuda()
free = _free_memory(cuda)
counts = shim.counts()
print(json.dumps([plan.device, plan.driver, plan.compute_capabilities, plan.options, free, len(plan.content),
                  counts["contexts"], counts["pushed"]]))
"""


@pytest.fixture
def with_tensorrt(double_of_driver: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The tests' driver, and TensorRT-RTX under the name of TensorRT."""
    folder = tmp_path / "tensorrt"
    folder.mkdir()
    (folder / "tensorrt.py").write_text("from tensorrt_rtx import *\nfrom tensorrt_rtx import __version__\n")
    # The double of TensorRT-RTX lies in the driver's folder, which is the first.
    paths = double_of_driver["PYTHONPATH"].split(":")
    return {**double_of_driver, "PYTHONPATH": ":".join([str(folder), *paths[1:]])}


def test_a_plan_is_built_on_the_gpu_and_says_so(with_tensorrt: dict[str, str], tmp_path: Path) -> None:
    model = tmp_path / "small.onnx"
    model.write_bytes(small_network())
    done = subprocess.run(
        [sys.executable, "-c", BUILD, model],
        env=with_tensorrt,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    device, driver, capabilities, options, free, size, contexts, pushed = json.loads(done.stdout)
    assert device
    assert driver
    assert len(capabilities) == 1
    assert options["workspace_bytes"] == int(0.8 * free)
    assert size > 1000
    assert (contexts, pushed) == (1, 0), "TensorRT finds one that lives, and none that is current"


def test_a_gpu_that_another_has_for_itself_is_one_sentence(
    with_tensorrt: dict[str, str], tmp_path: Path
) -> None:
    model = tmp_path / "small.onnx"
    model.write_bytes(small_network())
    words = ("build-engine", model, "--flavour", "enterprise", "--out", tmp_path / "bundle")
    done = scanlight(*words, env=with_tensorrt | {"SHIM_LOSE": "46@1"})
    assert done.returncode == 2
    assert done.stderr.startswith("The GPU cannot be used (")
    assert done.stderr.count("\n") == 1


def test_verify_says_nothing_of_a_driver_that_it_does_not_know(
    with_tensorrt: dict[str, str], tmp_path: Path
) -> None:
    """And of another one on the GPU alone, where it is known."""
    bundle = write_bundle(tmp_path / "bundle", small_network(), flavour="enterprise", driver="570.1")
    done = scanlight("engine", "verify", bundle, env=with_tensorrt)
    assert "and this is ," not in done.stdout
    assert "Traceback" not in done.stderr
