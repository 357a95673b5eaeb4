"""Two versions of Scanlight, built once for all tests."""

from __future__ import annotations

import pytest
from releases import Release, build, dependencies


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Release]:
    """This version, and a newer one with another schema."""
    wheelhouse = tmp_path_factory.mktemp("wheelhouse")
    lock = dependencies(wheelhouse)
    folders = [tmp_path_factory.mktemp(name) for name in ("this", "newer")]
    return build(folders[0], wheelhouse, lock, newer=False), build(folders[1], wheelhouse, lock, newer=True)
