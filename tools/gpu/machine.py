"""What a machine with a GPU is, as its own programs and files say. Imports the standard library alone."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ASKED: Final = "name,driver_version,memory.total,compute_cap"
_TIMEOUT_S: Final = 20


@dataclass(frozen=True)
class Machine:
    """`gpu` is "" without one, `why_no_gpu` then says what is missing; `cuda` is the newest that the driver
    speaks, such as 13000 for 13.0, 0 without a driver."""

    gpu: str
    why_no_gpu: str
    compute_capability: str
    gpu_memory: str
    driver: str
    cuda: int
    system: str
    processors: int
    python: str
    compiler: str
    toolkit: str


def look() -> Machine:
    told, why = _nvidia_smi()
    name, driver, memory, capability = told or ("", "", "", "")
    cuda = driver_cuda()
    if told and not cuda:
        told, why = None, "NVIDIA's driver library, libcuda.so.1, cannot be loaded"
    return Machine(
        gpu=name if told else "",
        why_no_gpu=why,
        compute_capability=capability,
        gpu_memory=memory,
        driver=driver,
        cuda=cuda,
        system=_system(),
        processors=os.cpu_count() or 1,
        python=platform.python_version(),
        compiler=_first_line("g++", "--version"),
        toolkit=_last_line("nvcc", "--version"),
    )


def driver_cuda() -> int:
    """What the driver's own library says; 0 where it cannot be loaded."""
    version = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return version.value


def _nvidia_smi() -> tuple[tuple[str, ...] | None, str]:
    """Of the first GPU what `_ASKED` names, or why there is none."""
    if not shutil.which("nvidia-smi"):
        return None, "there is no nvidia-smi, and so no NVIDIA driver"
    said = _output("nvidia-smi", f"--query-gpu={_ASKED}", "--format=csv,noheader")
    values = tuple(one.strip() for one in said.partition("\n")[0].split(","))
    if len(values) != len(_ASKED.split(",")):
        return None, f"nvidia-smi names no GPU: {said.strip()}"
    return values, ""


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{name}, glibc {platform.libc_ver()[1]}, {processor}"


def _first_line(*words: str) -> str:
    return _output(*words).strip().partition("\n")[0]


def _last_line(*words: str) -> str:
    return _output(*words).strip().rpartition("\n")[2]


def _output(*words: str) -> str:
    """What a program says, "" where it is not here."""
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
