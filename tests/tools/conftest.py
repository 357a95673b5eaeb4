"""Phantoms that several tests look at, made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pytest

from tools.phantom import Chest, Phantom, make_chest


@pytest.fixture(scope="session")
def made() -> Callable[[Chest], Phantom]:
    """Makes a chest, or gives the one that was made before."""
    return lru_cache(maxsize=32)(make_chest)
