"""Real scans, where they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(os.environ.get("SCANLIGHT_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@pytest.fixture(scope="session")
def scan() -> Callable[[str], list[Path]]:
    """The files of a real scan by the name of its folder; skips the test by that name where it is missing."""

    def files(name: str) -> list[Path]:
        found = sorted(path for path in (DATA / name).rglob("*") if path.is_file() and path.suffix != ".md")
        if not found:
            pytest.skip(f"the scan {name} is not in $SCANLIGHT_DATA")
        return found

    return files
