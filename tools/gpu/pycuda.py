"""Builds PyCUDA, and installs it into the Python that runs this: `python -m tools.gpu.pycuda`.

No CUDA toolkit and no driver is needed: NVIDIA's headers come as wheels, and an empty libcuda.so.1 is
enough to link to. Imports the standard library alone, since a bare machine has nothing else. What it installs
is pinned in requirements-cuda.lock; numpy and setuptools must be there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

LOCK: Final = Path(__file__).resolve().parents[2] / "requirements-cuda.lock"

Headers = Literal["cuda12", "cuda13"]
"""PyCUDA asks the driver for the functions of the headers it was built with: CUDA 12's are in the
drivers from 525 on, CUDA 13's from 580 on."""

_HEADER_WHEELS: Final[Mapping[Headers, Sequence[str]]] = {
    "cuda12": ("nvidia_cuda_runtime_cu12-*.whl", "nvidia_cuda_profiler_api_cu12-*.whl"),
    "cuda13": ("nvidia_cuda_runtime-*.whl", "nvidia_cuda_profiler_api-*.whl"),
}

_NEEDS: Final = (
    "pytools-*",
    "platformdirs-*",
    "mako-*",
    "markupsafe-*",
    "siphash24-*",
    "typing_extensions-*",
)

# The file that PyCUDA's setup.py reads from the home folder: no toolkit, no cuRAND.
_DEFAULTS: Final = """
CUDA_ROOT, CUDA_ENABLE_CURAND = None, False
CUDA_INC_DIR = {includes!r}
CUDADRV_LIB_DIR = [{stubs!r}]
CXXFLAGS, LDFLAGS = ["-w", "-g0"], ["-s"]
"""


class CannotBuildError(Exception):
    """One sentence: what is missing or failed, and what to do."""


def download(folder: Path) -> None:
    """Fetch what the lock names, checked by its hashes, into `folder`."""
    _pip(
        "download",
        "--no-deps",
        "--no-build-isolation",
        "--require-hashes",
        "--requirement",
        LOCK,
        "--dest",
        folder,
    )


def build(files: Path, out: Path, headers: Headers = "cuda13") -> Path:
    """Make PyCUDA's wheel in the folder `out` from what `download` put into `files`, and return it.

    Raises CannotBuildError, in about a second when a compiler or Python's headers are missing.
    """
    _need_compiler()
    (sources,) = _found(files, "pycuda-*.tar.gz")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for pattern in _HEADER_WHEELS[headers]:
            (wheel,) = _found(files, pattern)
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(home / "headers")
        includes = sorted(map(str, (home / "headers").glob("nvidia/*/include")))
        stubs = _stub_library(home / "stubs")
        (home / ".aksetup-defaults.py").write_text(_DEFAULTS.format(includes=includes, stubs=str(stubs)))
        # Most compilers leave out a library that nothing is asked of, and the wheel would not name libcuda.
        surroundings = {"HOME": name, "LDFLAGS": "-Wl,--no-as-needed"}
        _pip(
            *("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", out, sources),
            surroundings=surroundings,
        )
    return _found(out, "pycuda-*.whl")[-1]


def needs(files: Path) -> list[Path]:
    """The wheels in `files` that PyCUDA runs with."""
    return [path for pattern in _NEEDS for path in _found(files, pattern)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Build PyCUDA and install it into this Python.")
    parser.add_argument("--files", type=Path, help="a folder that has what is else downloaded")
    parser.add_argument("--headers", choices=_HEADER_WHEELS, default="cuda13", help="of which CUDA")
    parser.add_argument("--wheels", type=Path, help="put the wheels into this folder, and install nothing")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        try:
            _need_compiler()
            sys.stderr.write("Building PyCUDA (once, about two minutes)\n")
            files = given.files or Path(name)
            if not given.files:
                download(files)
            wheels = [build(files, Path(name), given.headers), *needs(files)]
            if given.wheels:
                given.wheels.mkdir(parents=True, exist_ok=True)
                for wheel in wheels:
                    shutil.copy(wheel, given.wheels)
            else:
                _pip("install", "--no-index", "--no-deps", "--force-reinstall", *wheels)
        except CannotBuildError as error:
            sys.exit(str(error))


def _need_compiler() -> None:
    if not shutil.which("g++"):
        raise CannotBuildError("PyCUDA is built with g++, which is not installed: apt-get install g++")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
        raise CannotBuildError(
            f"PyCUDA is built with Python.h, which is not installed: apt-get install {name}"
        )


def _stub_library(folder: Path) -> Path:
    """A folder with an empty library to link to; at run time the driver's own is loaded by the same name."""
    folder.mkdir()
    source = folder / "empty.c"
    source.touch()
    _run("g++", "-shared", "-Wl,-soname,libcuda.so.1", "-o", folder / "libcuda.so", source)
    return folder


def _found(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise CannotBuildError(f"{folder} holds no {pattern}: make the folder again with make gpu-wheels")
    return found


def _pip(*words: str | Path, surroundings: Mapping[str, str] | None = None) -> None:
    _run(
        *(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words),
        surroundings=surroundings or {},
    )


def _run(*words: str | Path, surroundings: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        list(map(str, words)),
        env={**os.environ, **(surroundings or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise CannotBuildError(
            f"{Path(words[0]).name} ended with exit code {done.returncode}, as told above: mend it and repeat"
        )


if __name__ == "__main__":
    main()
