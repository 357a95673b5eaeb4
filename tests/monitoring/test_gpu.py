"""What the metrics tell of GPUs, through nvidia-ml-py and a library that answers as a driver does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from harness import Appliance
from nvml import with_two_gpus

from appliance.commands.run import CRASHED

LOOKS = """
import json, os, sys
from prometheus_client import CollectorRegistry, generate_latest
from appliance.gpu import Gpus
from appliance.metrics import gpu_gauges
gpus = None
for said in json.loads(sys.argv[1]):
    os.environ["NVML_STUB"] = said
    gpus = gpus or Gpus()
    print(json.dumps([[s.name, s.labels, s.value] for m in gpu_gauges(gpus.look()) for s in m.samples]))
"""

HANGS = """
import os, time
from appliance import gpu
gpu.LOOK_S = 0.01
os.environ["NVML_STUB"] = "well"
gpus = gpu.Gpus()
gpus.start()
while not gpus.told(time.monotonic()):
    time.sleep(0.01)
os.environ["NVML_STUB"] = "hangs"
time.sleep(0.5)
asked_at = time.monotonic()
seen = [len(gpus.told(asked_at + later)) for later in (0, gpu.OLD_S + 1)]
print(seen, time.monotonic() - asked_at < 0.1, gpus.is_alive())
"""


def looks(env: dict[str, str], *said: str) -> list[dict[str, list[float]]]:
    """The samples of each look, by metric; `said` is what the driver is like at each."""
    done = subprocess.run(
        [sys.executable, "-c", LOOKS, json.dumps(said)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    found = []
    for line in done.stdout.splitlines():
        values: dict[str, list[float]] = {}
        for name, labels, value in json.loads(line):
            assert labels == {"device": str(len(values.setdefault(name, [])))}
            values[name].append(value)
        found.append(values)
    return found


TOLD = {
    "scanlight_gpu_temperature_celsius": [41.0, 42.0],
    "scanlight_gpu_memory_bytes": [3.0 * 2**30] * 2,
    "scanlight_gpu_utilization_ratio": [0.75] * 2,
}


def test_every_gpu_tells_its_temperature_memory_and_use(tmp_path: Path) -> None:
    assert looks(with_two_gpus(tmp_path), "well", "well") == [TOLD, TOLD]


def test_what_a_gpu_does_not_tell_is_left_out(tmp_path: Path) -> None:
    without = {name: values for name, values in TOLD.items() if "utilization" not in name}
    assert looks(with_two_gpus(tmp_path), "mig") == [without]


def test_a_driver_that_goes_away_and_comes_back_is_found_again(tmp_path: Path) -> None:
    env = with_two_gpus(tmp_path)
    assert looks(env, "no driver", "well", "lost", "no driver", "well") == [{}, TOLD, {}, {}, TOLD]


@pytest.mark.parametrize("library", [b"", b"this is no library"], ids=["none", "broken"])
def test_without_a_driver_nothing_is_told(tmp_path: Path, library: bytes) -> None:
    if library:
        (tmp_path / "libnvidia-ml.so.1").write_bytes(library)
    elif Path("/dev/nvidia0").exists():
        pytest.skip("there is a GPU here")
    assert looks({"LD_LIBRARY_PATH": str(tmp_path)}, "well") == [{}]


def test_without_nvidia_ml_py_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text("raise ImportError('not installed')\n")
    assert looks({**with_two_gpus(tmp_path), "PYTHONPATH": str(tmp_path)}, "well") == [{}]


def test_a_driver_that_hangs_is_not_waited_for_and_what_it_told_grows_old(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS],
        env={**os.environ, **with_two_gpus(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[2, 0] True True\n"


@pytest.mark.slow
def test_page_and_metrics_answer_although_the_driver_hangs(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path)
    with appliance.launched({**with_two_gpus(tmp_path), "NVML_STUB": "hangs"}):
        appliance.wait_until_ready()
        answer = httpx.get(f"{appliance.url}/metrics", timeout=5)
        assert answer.status_code == 200
        assert "scanlight_gpu_memory_bytes" in answer.text
        assert "scanlight_gpu_memory_bytes{" not in answer.text
        assert appliance.stop() == 0


@pytest.mark.slow
def test_a_daemon_tells_of_its_gpus_and_dies_of_what_nobody_thought_of(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path)
    with appliance.launched({**with_two_gpus(tmp_path), "NVML_STUB": "well"}):
        appliance.wait_until_ready()
        appliance.wait(
            "the GPUs are told", lambda: "gpu_memory_bytes{" in httpx.get(f"{appliance.url}/metrics").text, 20
        )
        assert appliance.stop() == 0
    (tmp_path / "pynvml.py").write_text("raise RuntimeError('who would have thought')\n")
    with appliance.launched({"PYTHONPATH": str(tmp_path)}):
        assert appliance.process is not None
        assert appliance.process.wait(60) == CRASHED
