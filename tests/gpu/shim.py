"""Builds the driver of libcuda.c and lends it to other processes, so that this one never sees it."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCE = HERE / "libcuda.c"
LIBRARY = "libcuda.so.1"
REAL = "SCANLIGHT_REAL_DRIVER"
"""Set by `make gpu-check`: what can be tested with the driver of the machine is tested with that."""

COUNTS = (
    "contexts",
    "pushed",
    "streams",
    "events",
    "device",
    "host",
    "leaked",
    "refused",
    "default stream",
    "pageable",
)

_STUB = "int {name}(void) {{ return 801; /* not supported */ }}\n"
_STAND_IN = "from tensorrt_double import *\nfrom tensorrt_double import __version__\n"


def pycuda_library() -> Path:
    """PyCUDA's compiled module; the test is skipped without it."""
    found = importlib.util.find_spec("pycuda")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("PyCUDA is not installed: make pycuda")
    (library,) = Path(found.submodule_search_locations[0]).glob("_driver.*.so")
    return library


def wanted() -> set[str]:
    """The functions of the driver that PyCUDA links to."""
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", pycuda_library()], capture_output=True, text=True, check=True
    ).stdout
    return set(re.findall(r"\bU (cu[A-Z]\w+)", listed))


def implemented() -> set[str]:
    return set(re.findall(r"^CUresult (cu[A-Z]\w+)\(", SOURCE.read_text(), re.M))


def build(folder: Path) -> Path:
    """Compile the driver, with stubs for what PyCUDA links to and nobody calls."""
    stubs = folder / "stubs.c"
    stubs.write_text("".join(_STUB.format(name=name) for name in sorted(wanted() - implemented())))
    options = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread"]
    library = folder / LIBRARY
    subprocess.run(["gcc", *options, f"-Wl,-soname,{LIBRARY}", "-o", library, SOURCE, stubs], check=True)
    return library


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of a process whose driver is the one in `folder`, and whose TensorRT-RTX is the double.

    Without a driver there the machine's own is found.
    """
    (folder / "tensorrt_rtx.py").write_text(_STAND_IN)
    paths = [str(folder), str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")])),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def counts() -> dict[str, int]:
    """What the driver of this process counts; only inside of `surroundings`."""
    count = ctypes.CDLL(LIBRARY).shim_count
    return {what: count(what.encode()) for what in COUNTS}
