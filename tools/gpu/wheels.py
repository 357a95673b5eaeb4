"""`make gpu-wheels`: what `make gpu-check` needs on a machine without a network, for its Python.

The versions and hashes are those of the lock files.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from packaging.markers import Marker
from packaging.utils import canonicalize_name

from tools.gpu import lots
from tools.network.placeholder import untrained
from tools.problem import WrongInput, one_sentence

ROOT: Final = Path(__file__).resolve().parents[2]
LOCKS: Final = ("requirements-run.lock", "requirements-cuda.lock", "requirements-rtx.lock")
FOR_TESTS: Final = ("pytest", "iniconfig", "pluggy", "packaging", "setuptools")
"""Of requirements.lock: what runs the contract tests and builds PyCUDA."""

PYTHONS: Final = ("3.11", "3.12", "3.13")
SOURCES: Final = ("pycuda", "tensorrt-rtx", "tensorrt-rtx-cu13")
"""There are no wheels of these; the latter two have nothing to compile."""

FULL: Final = "csac-net-full.onnx"

GLIBC: Final = 34
"""Wheels for glibc up to 2.34 are taken, that of Debian 12, RHEL 9 and Ubuntu 22.04."""

MB: Final = 1_000_000


@dataclass(frozen=True)
class Locked:
    """One distribution of a lock file; `text` is the requirement with its hashes, without the marker."""

    name: str
    marker: str
    text: str


def wheels(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    python: Annotated[str, typer.Option(help="The Python of the machine with the GPU.")] = "3.12",
    have: Annotated[str, typer.Option(help="What its Python has already, left out here.")] = "",
    lot_mb: Annotated[int | None, typer.Option(min=1, help="Split into lots of so many MB.")] = None,
) -> None:
    """Prepare a folder for make gpu-check."""
    with one_sentence(), tempfile.TemporaryDirectory() as name:
        _check(out, python)
        locked = list(_locked())
        left_out = named(have, {one.name for one in locked})
        wanted = list(select(locked, python, left_out))
        folder = Path(name)
        _download(wanted, python, folder)
        _write_full(folder)
        files = sorted(folder.iterdir())
        size = sum(file.stat().st_size for file in files)
        count = lots.pack(files, out, lot_mb * MB if lot_mb else None, lots.About(python, left_out))
    typer.echo(
        f"{out} has {len(files)} files for Python {python}, {size / MB:.0f} MB in {_lots(count)}: copy it to"
        f" the machine, and start there make gpu-check WHEELS=FOLDER PYTHON=python{python}"
    )


def named(have: str, known: Collection[str]) -> list[str]:
    """The distributions that HAVE names, between blanks or commas. Raises WrongInput for an unknown one."""
    names: list[str] = sorted({canonicalize_name(one) for one in have.replace(",", " ").split()})
    unknown = [one for one in names if one not in known]
    if unknown:
        raise WrongInput(
            f"HAVE names {', '.join(unknown)}, which no lock file has: give names of requirements-run.lock,"
            " requirements-cuda.lock or requirements-rtx.lock."
        )
    return names


def select(locked: Iterable[Locked], python: str, left_out: Iterable[str]) -> Iterator[Locked]:
    """Those that a Python on 64-bit Linux needs, each once."""
    surroundings = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
    }
    seen = set(left_out)
    for one in locked:
        if one.name not in seen and (not one.marker or Marker(one.marker).evaluate(surroundings)):
            seen.add(one.name)
            yield one


def read_lock(text: str) -> Iterator[Locked]:
    """The distributions of a lock file that uv wrote."""
    for block in re.split(r"\n(?=[a-z0-9])", text.strip()):
        first, _, hashes = block.partition("\n")
        requirement, _, marker = first.rstrip("\\ ").partition(" ; ")
        kept = "".join(f" \\\n{line}" for line in re.findall(r"^ +--hash=\S+", hashes, re.M))
        yield Locked(canonicalize_name(requirement.partition("==")[0]), marker, requirement + kept)


def _locked() -> Iterator[Locked]:
    for one in read_lock((ROOT / "requirements.lock").read_text()):
        if one.name in FOR_TESTS:
            yield one
    for name in LOCKS:
        yield from read_lock((ROOT / name).read_text())


def _check(out: Path, python: str) -> None:
    if python not in PYTHONS:
        raise WrongInput(f"PYTHON_VERSION is {python}: give one of {', '.join(PYTHONS)}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WrongInput(f"{out} is there already: remove it, or name another folder.")


def _download(wanted: Iterable[Locked], python: str, folder: Path) -> None:
    """Raises WrongInput when something cannot be had, or only as sources that would have to be compiled."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write("".join(f"{one.text}\n" for one in wanted))
        requirements.flush()
        options = [
            "--no-deps",
            "--no-build-isolation",
            "--require-hashes",
            "--requirement",
            requirements.name,
        ]
        options += ["--dest", str(folder), "--implementation", "cp", "--python-version", python]
        for abi in (f"cp{python.replace('.', '')}", "abi3", "none"):
            options += ["--abi", abi]
        for glibc in range(GLIBC, 4, -1):
            options += ["--platform", f"manylinux_2_{glibc}_x86_64"]
        options += ["--platform", "manylinux2014_x86_64", "--platform", "any"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *options],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        typer.echo(done.stderr, err=True)
        raise WrongInput("pip could not download everything, as told above: mend that and repeat.")
    for file in folder.iterdir():
        name = canonicalize_name(file.name.rpartition("-")[0])
        if file.suffix != ".whl" and name not in SOURCES:
            raise WrongInput(f"{name} has no wheel for Python {python}: name another Python.")


def _lots(count: int) -> str:
    return "one lot" if count == 1 else f"{count} lots"


def _write_full(folder: Path) -> None:
    """The large configuration, of which no trained model ships: random weights take the same time."""
    try:
        content = untrained("full")
    except ModuleNotFoundError:
        typer.echo("Without PyTorch the full configuration is left out: make training brings it.", err=True)
        return
    (folder / FULL).write_bytes(content)


if __name__ == "__main__":
    typer.run(wheels)
