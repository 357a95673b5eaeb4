"""A driver for GPUs that are not there: a library under the name of NVIDIA's, for processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("nvml.c")


def with_two_gpus(folder: Path) -> dict[str, str]:
    """The environment of a process that is to find it; made in this folder."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc: apt-get install gcc libc6-dev")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE)], check=True
    )
    return {"LD_LIBRARY_PATH": f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
