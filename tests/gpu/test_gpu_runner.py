"""The GPU's runner on real PyCUDA and the double of TensorRT.

The driver is one on the memory of the host or, where `make gpu-check` asks for it, the machine's own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shim
import tensorrt_double
from bundles import small_network, write_bundle
from contract import STEPS, Observe, broken
from mutants import MUTANTS, Mutant
from tensorrt_double import CACHE_MAGIC, HOST_CODE, MAGIC, SCRATCH_BYTES

from engines.bundle import default_model, load_model
from engines.nvidia import Gpu
from engines.onnxruntime import OnnxRuntimeEngine
from engines.protocol import Score
from engines.tensorrt import _rebuild, other_driver

ENGINES = shim.ROOT / "engines"


def test_it_reads_what_the_cpu_reads_and_gives_everything_back(
    observe: Observe, expected: Sequence[Score]
) -> None:
    seen = observe()
    assert broken(seen, expected) == []
    assert len({round(score.probability, 3) for score in expected}) == len(expected) - 1
    assert (seen.exit_code, seen.said) == (0, "")


def test_identity_and_times(observe: Observe) -> None:
    seen = observe()
    assert seen.identity["runner"] == "tensorrt"
    assert seen.identity["flavour"].startswith("tensorrt-rtx 1.")
    assert seen.identity["device"]
    for times in seen.timings_ms:
        assert times.keys() == STEPS
        assert min(times.values()) >= 0
        assert 0 < times["execute"] <= times["compute"]


def test_bad_volumes_are_refused_and_the_next_is_read(observe: Observe, expected: Sequence[Score]) -> None:
    seen = observe()
    not_finite, too_small, too_wide = seen.refusals
    assert "not finite" in not_finite
    assert "7 × 16 × 16" in too_small
    assert "float64" in too_wide
    assert len(seen.probabilities) == len(expected)


def test_an_output_that_is_not_finite_is_refused(observe: Observe, tmp_path: Path) -> None:
    """The plan's alone: what it says is looked at, not what the model is known to say."""
    network = small_network(head=(np.nan, 1, 1, 1))
    seen = observe(bundle=write_bundle(tmp_path / "nan", small_network(), plan_content=MAGIC + network))
    assert seen.failed == "BadOutput: model small gave a logit that is not finite: do not use it"
    assert broken(seen, []) == [f"it failed: {seen.failed}"]


def test_many_volumes_use_the_same_buffers(observe: Observe, volumes: np.ndarray) -> None:
    many = np.concatenate([volumes] * 50)
    seen = observe(volumes=many)
    assert seen.failed == ""
    assert len(seen.probabilities) == len(many) + 1
    assert np.ptp(seen.probabilities[:: len(volumes)]) == 0
    if seen.counts:
        assert seen.counts["first"] == seen.counts["last"]


def test_the_demonstration_model_is_read_as_on_the_cpu(observe: Observe, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "edge", default_model().read_bytes())
    model = load_model(bundle)
    chance = np.random.default_rng(5)
    volumes = chance.normal(-700, 200, (2, *model.spec.grid.size)).astype(np.float32)
    engine = OnnxRuntimeEngine(model, threads=1)
    expected = [engine.infer(volume) for volume in [*volumes, volumes[0]]]
    assert broken(observe(bundle=bundle, volumes=volumes), expected) == []


def test_kernels_are_kept_for_the_next_start_and_never_trusted(
    observe: Observe, expected: Sequence[Score], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    assert broken(observe(cache=cache), expected) == []
    (file,) = cache.iterdir()
    assert file.read_bytes() == CACHE_MAGIC + b" compiled"
    assert broken(observe(cache=cache), expected) == []
    assert file.read_bytes() == CACHE_MAGIC + b" kept"
    file.write_bytes(b"of another version")
    assert broken(observe(cache=cache), expected) == []
    assert file.read_bytes() == CACHE_MAGIC + b" compiled"
    other = write_bundle(tmp_path / "other", small_network(), options={"of": "another bundle"})
    assert broken(observe(bundle=other, cache=cache), expected) == []
    assert len(list(cache.iterdir())) == 2


def test_what_a_run_does_not_write_is_never_the_last_volume_s(
    observe: Observe, any_driver: dict[str, str]
) -> None:
    seen = observe(any_driver | {"DOUBLE_SILENT_RUN": "4"})
    assert seen.failed.startswith("BadOutput: ")
    assert "not finite" in seen.failed
    assert len(seen.probabilities) == 2


@pytest.mark.parametrize("code", [46, 700, 719])
@pytest.mark.parametrize(("wait", "volumes_read"), [(2, 0), (4, 1)])
def test_a_lost_device_is_one_sentence_and_no_crash(
    observe: Observe, double_of_driver: dict[str, str], code: int, wait: int, volumes_read: int
) -> None:
    seen = observe(double_of_driver | {"SHIM_LOSE": f"{code}@{wait}"})
    assert seen.failed.startswith("DeviceLost: the GPU failed (cuStreamSynchronize failed: ")
    assert len(seen.probabilities) == volumes_read
    assert seen.closed_by == ""
    assert (seen.exit_code, seen.said) == (0, "")


def test_a_driver_that_tensorrt_refuses_is_one_sentence(
    observe: Observe, double_of_driver: dict[str, str]
) -> None:
    seen = observe(double_of_driver | {"DOUBLE_NO_RUNTIME": "1"})
    assert seen.failed.startswith("EngineError: TensorRT does not start (CUDA initialization failure")
    assert broken(seen, []) == [f"it failed: {seen.failed}"]


def test_a_gpu_that_is_not_given_is_one_sentence(observe: Observe, double_of_driver: dict[str, str]) -> None:
    seen = observe(double_of_driver | {"SHIM_LOSE": "46@1"})
    assert seen.failed.startswith("EngineError: the GPU cannot be made ready (")
    assert "busy or unavailable" in seen.failed
    assert (seen.exit_code, seen.said) == (0, "")


@pytest.mark.parametrize("room", [100, SCRATCH_BYTES + 100])
def test_too_little_memory_is_one_sentence_and_nothing_is_left(
    observe: Observe, double_of_driver: dict[str, str], room: int
) -> None:
    seen = observe(double_of_driver | {"SHIM_MEMORY": str(room)})
    assert seen.failed.startswith("EngineError: ")
    assert "memory" in seen.failed
    assert broken(seen, []) == [f"it failed: {seen.failed}"]


def test_a_truncated_plan_is_refused_with_what_tensorrt_says(observe: Observe, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "cut", small_network(), plan_content=MAGIC + small_network()[:200])
    seen = observe(bundle=bundle)
    assert seen.failed.startswith("EngineError: the plan of bundle cut cannot be loaded")
    assert "the plan is damaged" in seen.failed
    assert "scanlight build-engine" in seen.failed
    assert broken(seen, []) == [f"it failed: {seen.failed}"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"tensorrt": "1.2.0.54"}, "was built by tensorrt-rtx 1.2.0.54"),
        ({"tensorrt": "1.99", "options": {"version_compatible": True}}, "was built by tensorrt-rtx 1.99"),
        ({"tensorrt": "0.9", "options": {"version_compatible": True}}, "was built by tensorrt-rtx 0.9"),
        ({"compute_capabilities": ("7.0",)}, "was built for compute capability 7.0"),
        ({"device": "GeForce 256"}, "was built on a GeForce 256"),
    ],
)
def test_a_plan_for_another_machine_is_refused_with_the_command_that_builds_it(
    observe: Observe, tmp_path: Path, other: dict[str, object], said: str
) -> None:
    seen = observe(bundle=write_bundle(tmp_path / "other", small_network(), **other))
    assert said in seen.failed
    assert f"build it again with scanlight build-engine {tmp_path}/other/model.onnx --out NEW" in seen.failed


BUILT: dict[str, object] = {"compute_capabilities": ("8.6", "8.9")}
ENTERPRISE = {"flavour": "enterprise", "tensorrt": "10.0", "device": "NVIDIA A100"}
OTHER_GPU = Gpu("another GPU", "8.0", 8 << 30, "580.65")


@pytest.mark.parametrize(
    ("plan", "found", "options"),
    [
        (BUILT, None, "--flavour rtx --compute-capability 8.6 --compute-capability 8.9"),
        (BUILT, OTHER_GPU, "--flavour rtx --compute-capability 8.0"),
        (BUILT, replace(OTHER_GPU, compute_capability="9.0"), "--flavour enterprise"),
        (BUILT | ENTERPRISE, OTHER_GPU, "--flavour enterprise"),
        (
            BUILT | ENTERPRISE | {"options": {"version_compatible": True, "hardware_compatible": True}},
            OTHER_GPU,
            "--flavour enterprise --version-compatible --hardware-compatible",
        ),
        (
            BUILT | ENTERPRISE | {"options": {"version_compatible": False, "hardware_compatible": True}},
            None,
            "--flavour enterprise --hardware-compatible",
        ),
    ],
)
def test_the_command_that_builds_a_bundle_again_is_what_built_it(
    tmp_path: Path, plan: dict[str, object], found: Gpu | None, options: str
) -> None:
    """For the GPU that was found, by the TensorRT that builds for it; a path with a blank is quoted."""
    model = load_model(write_bundle(tmp_path / "a bundle", small_network(), **plan))
    assert model.bundle is not None
    told = _rebuild(model, model.bundle, tensorrt_double, found)
    command = f"scanlight build-engine '{tmp_path}/a bundle/model.onnx' --out NEW {options}"
    assert told == f"build it again with {command}"


def test_another_driver_is_told_with_the_command_that_builds_it_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: make rtx")
    model = load_model(write_bundle(tmp_path / "older", small_network(), driver="570.1", **BUILT))
    assert other_driver(model, "570.1") == ""
    told = other_driver(model, "580.65")
    assert told.startswith("bundle older was built with driver 570.1 and this is 580.65, ")
    assert f"build it again with scanlight build-engine {tmp_path}/older/model.onnx --out NEW" in told


@pytest.mark.parametrize(
    "compatible",
    [
        {"compute_capabilities": ("8.0",), "device": "NVIDIA A100", "options": {"hardware_compatible": True}},
        {
            "tensorrt": "1.0.0.1",
            "options": {"version_compatible": True},
            "plan_content": MAGIC + HOST_CODE + small_network(),
        },
    ],
)
def test_a_plan_that_was_built_for_others_too_is_read(
    observe: Observe, expected: Sequence[Score], tmp_path: Path, compatible: dict[str, object]
) -> None:
    bundle = write_bundle(tmp_path / "compatible", small_network(), **compatible)
    assert broken(observe(bundle=bundle), expected) == []


def test_another_thread_is_refused_and_harms_nothing(any_driver: dict[str, str], bundle: Path) -> None:
    script = """
import sys, threading, numpy as np
from pathlib import Path
from engines.bundle import load_model
from engines.protocol import EngineError
from engines.runner import open_engine
model = load_model(Path(sys.argv[1]))
volume = np.zeros(model.spec.grid.size, np.float32)
engine = open_engine(model, "tensorrt")
before = engine.infer(volume).probability
def elsewhere(what):
    try:
        what()
    except EngineError as error:
        print(error)
for what in (lambda: engine.infer(volume), engine.close):
    thread = threading.Thread(target=elsewhere, args=(what,))
    thread.start()
    thread.join()
assert engine.infer(volume).probability == before
engine.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, bundle], env=any_driver, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("the thread that opened it" in line for line in lines)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_mutant_is_caught(
    observe: Observe,
    double_of_driver: dict[str, str],
    expected: Sequence[Score],
    tmp_path: Path,
    mutant: Mutant,
) -> None:
    engines = tmp_path / "engines"
    shutil.copytree(ENGINES, engines, ignore=shutil.ignore_patterns("models", "__pycache__"))
    runner = engines / "tensorrt.py"
    runner.write_text(mutant.of(runner.read_text()))
    paths = os.pathsep.join([str(tmp_path), double_of_driver["PYTHONPATH"]])
    found = broken(observe(double_of_driver | {"PYTHONPATH": paths}), expected)
    assert any(re.search(mutant.seen_as, one) for one in found), found
