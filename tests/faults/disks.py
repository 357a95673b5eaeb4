"""Small disks that a test fills, and the daemon must wait for."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(folder: Path, *how: str) -> Iterator[Path]:
    """Something is mounted at a folder; the test is skipped where that is not allowed."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *how, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def small_disk(folder: Path, size: str = "24m") -> contextlib.AbstractContextManager[Path]:
    """A file system of a few megabytes in memory."""
    return mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte is free on the disk of a folder."""
    filler = folder / ".filler"
    try:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        yield
    finally:
        filler.unlink()


class RefusingDisk:
    """Nothing below a folder can be changed by a process of this environment while the disk refuses."""

    def __init__(self, folder: Path, below: Path) -> None:
        if shutil.which("cc") is None:
            pytest.skip("needs cc: apt-get install gcc libc6-dev")
        library, self._said = folder / "refusing.so", folder / "refusing"
        source = Path(__file__).with_name("refusing.c")
        subprocess.run(
            ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"],
            check=True,
        )
        self.env = {
            "LD_PRELOAD": str(library),
            "REFUSING": str(self._said),
            "REFUSING_BELOW": f"{below}{os.sep}",
        }

    @contextlib.contextmanager
    def refusing(self, number: int) -> Iterator[None]:
        """Changes fail with this error number."""
        self._said.write_text(str(number))
        yield
        self._said.unlink()
