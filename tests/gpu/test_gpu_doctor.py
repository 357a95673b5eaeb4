"""The acceptance test where the engine is the GPU's runner, on the doubles of driver and TensorRT."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bundles import write_bundle
from monitoring.nvml import with_two_gpus
from onnx import numpy_helper
from shim import ROOT
from tensorrt_double import MAGIC

from engines.bundle import embedded_model

pytestmark = pytest.mark.slow

EXAMINE = """
import sys
from pathlib import Path
import tools.build_engine.volumes
import tools.own_daemon
from appliance.config import load
from tools.doctor.run import Plan, examine
tools.build_engine.volumes.FEWEST = 12
tools.own_daemon.START_S = float(sys.argv[2])
report = examine(load(Path(sys.argv[1])), Plan(phantoms=3, seconds=1, arrivals=1), lambda what: None)
sys.stdout.write(report.model_dump_json())
"""


RUN = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from engines.runner import open_engine
from tools.doctor.speed import run, speed
found = run(open_engine(Path(sys.argv[1]), "tensorrt"), 1.0, lambda share: None)
print(json.dumps([asdict(found), [asdict(check) for check in speed(found)]]))
"""


def otherwise(content: bytes) -> bytes:
    """The densitometry model as a device would run it that adds up something wrong."""
    model = onnx.load_from_string(content)
    (constant,) = (one for one in model.graph.initializer if one.name == "constant_11")
    constant.CopyFrom(numpy_helper.from_array(np.float32(0.0025), "constant_11"))
    return bytes(model.SerializeToString())


BESIDE_THE_DEVICE = ("FP16 when it was built", "fsync of the state disk")
"""They say nothing of the device: the bundle of the tests, and the disk under them."""


def examined(
    folder: Path, bundle: Path, surroundings: dict[str, str], ready_s: float = 60.0
) -> dict[str, Any]:
    """The report of a site on the doubles; its daemon is given `ready_s` to be ready."""
    for name in ("export", "state"):
        (folder / name).mkdir()
    config = folder / "site.yaml"
    config.write_text(
        f"export_folder: {folder}/export\nstate_folder: {folder}/state\nlisten: 127.0.0.1:0\n"
        f"model: {bundle}\nengine: tensorrt\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", EXAMINE, config, str(ready_s)],
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize(
    ("driver", "held_mib", "of", "verdict"),
    [
        ("others", 100, "of this process and of it on the GPU", "passed"),
        ("container", 3000, "of this process and of all on its GPU, whose driver does not tell", "failed"),
        ("no driver", 0, "of this process without the GPU, whose driver tells nothing here", "passed"),
    ],
)
def test_memory_is_that_of_this_process_on_the_gpu_of_its_engine(
    tmp_path: Path,
    bundle: Path,
    double_of_driver: dict[str, str],
    driver: str,
    held_mib: int,
    of: str,
    verdict: str,
) -> None:
    paths = f"{with_two_gpus(tmp_path)['LD_LIBRARY_PATH']}:{double_of_driver['LD_LIBRARY_PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", RUN, bundle],
        env=double_of_driver | {"LD_LIBRARY_PATH": paths, "NVML_STUB": driver},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, checks = json.loads(done.stdout)
    flat = next(check for check in checks if check["name"] == "Memory stays flat")
    assert found["memory_of"].startswith(of)
    assert found["memory_of"] in flat["measured"]
    assert flat["verdict"] == verdict, flat
    assert held_mib < min(found["memory_mib"]) < held_mib + 1500


@pytest.mark.parametrize(
    ("wait", "failed"),
    [(2, ["Engine"]), (3, ["Model", "Speed", "Last slice to flag"])],
    ids=["while it opens", "at the first volume"],
)
def test_a_device_that_is_lost_fails_what_comes_after_it(
    tmp_path: Path, double_of_driver: dict[str, str], wait: int, failed: list[str]
) -> None:
    bundle = write_bundle(tmp_path / "bundle", embedded_model("densitometry").read_bytes())
    report = examined(tmp_path, bundle, double_of_driver | {"SHIM_LOSE": f"719@{wait}"})
    checks = [check for group in report["groups"] for check in group["checks"]]
    wrong = [
        check for check in checks if check["verdict"] == "failed" and check["name"] not in BESIDE_THE_DEVICE
    ]
    assert [check["name"] for check in wrong] == failed
    assert "the GPU failed (cuStreamSynchronize failed: " in wrong[0]["measured"]
    assert "State disk" in [check["name"] for check in checks]


MARK = "SCANLIGHT_TEST_FAMILY"


def test_a_measurement_that_is_killed_among_the_phantoms_leaves_no_process(
    tmp_path: Path, double_of_driver: dict[str, str]
) -> None:
    bundle = write_bundle(tmp_path / "bundle", embedded_model("densitometry").read_bytes())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    mark = f"{MARK}={uuid.uuid4()}"
    surroundings = double_of_driver | {"TMPDIR": str(scratch)} | dict([mark.split("=")])
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.gpu.measure", bundle, "20"],
        cwd=ROOT,
        env=surroundings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        wait_for(lambda: process.poll() is not None or phantoms_made_for(mark), 60)
        assert process.poll() is None
        assert phantoms_made_for(mark)
        process.kill()
        process.wait(30)
        wait_for(lambda: not family(mark), 30)
        assert family(mark) == []
    finally:
        for one in [process.pid, *family(mark)]:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        process.communicate()


def family(mark: str) -> list[int]:
    """The processes with this in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def phantoms_made_for(mark: str) -> bool:
    """Whether there is a process that makes them: no other is spawned."""
    words = (Path(f"/proc/{one}/cmdline") for one in family(mark))
    return any(b"spawn_main" in one.read_bytes() for one in words if one.exists())


def wait_for(come: Callable[[], bool], seconds: float) -> None:
    """Until it has come, or the time is over."""
    end = time.monotonic() + seconds
    while not come() and time.monotonic() < end:
        time.sleep(0.1)


@pytest.mark.parametrize("right", [True, False])
def test_the_device_is_held_to_the_reference(
    tmp_path: Path, double_of_driver: dict[str, str], right: bool
) -> None:
    content = embedded_model("densitometry").read_bytes()
    plan = MAGIC + (content if right else otherwise(content))
    # A daemon whose known answers are wrong is never ready.
    ready_s = 60.0 if right else 10.0
    report = examined(tmp_path, write_bundle(tmp_path / "bundle", content, plan), double_of_driver, ready_s)
    checks = {check["name"]: check for group in report["groups"] for check in group["checks"]}
    assert checks["Engine"]["measured"].startswith("tensorrt, tensorrt-rtx ")
    assert report["subject"]["engine"].startswith("tensorrt, tensorrt-rtx ")
    assert report["subject"]["device"] in checks["GPU"]["measured"]
    assert report["subject"]["driver"] == checks["Driver"]["measured"]
    assert len(report["subject"]["bundle"]) == 64
    for name in ("Known answers on this device", "FP16 against the CPU reference"):
        assert checks[name]["verdict"] == ("passed" if right else "failed"), checks[name]
    assert checks["Hashes of the bundle"]["verdict"] == "passed"
    assert checks["Memory stays flat"]["verdict"] == "passed"
    if right:
        assert checks["Last slice to flag"]["measured"].startswith("median ")
