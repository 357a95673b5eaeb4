"""The machine's own driver, where `make gpu-check` asks for it."""

from __future__ import annotations

import ctypes
import os

import pytest
import shim


def test_it_has_every_function_that_pycuda_links_to() -> None:
    if not os.environ.get(shim.REAL):
        pytest.skip("only make gpu-check looks at the driver of the machine")
    driver = ctypes.CDLL(shim.LIBRARY)
    assert [name for name in sorted(shim.wanted() | {"cuLaunchHostFunc"}) if not hasattr(driver, name)] == []
