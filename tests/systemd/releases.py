"""Versions of Scanlight as real wheels, and a wheelhouse that serves their locked dependency."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

from machine import LENT

ROOT = Path(__file__).resolve().parent.parent.parent
NEWER = "999.0.0"


@dataclass(frozen=True)
class Release:
    """A version and its wheel; `wheelhouse` has what its lock names."""

    version: str
    wheel: Path
    wheelhouse: Path


def build(folder: Path, wheelhouse: Path, lock: str, newer: bool) -> Release:
    """The wheel of this checkout; the newer one has another number and a schema that this one cannot read."""
    source = folder / "source"
    for name in ("appliance", "engines", "tools", "systemd", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    (source / "requirements-run.lock").write_text(lock)
    project, journal = source / "pyproject.toml", source / "appliance/journal/schema.py"
    if newer:
        change(project, r'^version = ".*"$', f'version = "{NEWER}"')
        change(
            journal,
            r"^MIN_READER = \d+$",
            'MIGRATIONS = (*MIGRATIONS, "CREATE TABLE newer (id INTEGER);")\nMIN_READER = len(MIGRATIONS)',
        )
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder]
    subprocess.run([*command, source], check=True)
    (wheel,) = folder.glob("scanlight-*.whl")
    return Release(wheel.name.split("-")[1], wheel, wheelhouse)


def change(file: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, file.read_text(), flags=re.M)
    assert count == 1, pattern
    file.write_text(text)


def write_wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    """Version 1 of a distribution with these files, by their paths."""
    wheel = folder / f"{name}-1-py3-none-any.whl"
    info = f"{name}-1.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{one},,\n" for one in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def dependencies(wheelhouse: Path) -> str:
    """A wheel that lends the dependencies of this environment, and the lock that names it with its hash."""
    lent = {"lent_dependencies.pth": f"{sysconfig.get_path('purelib')}\n{LENT}\n"}
    wheel = write_wheel(wheelhouse, "lent_dependencies", lent)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"lent-dependencies==1 --hash=sha256:{digest}\n"
