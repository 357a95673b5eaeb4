"""The driver of the tests, a bundle for it, and the runner seen through them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import contract
import numpy as np
import pytest
import shim
from bundles import small_network, small_volumes, write_bundle

from engines.bundle import load_model
from engines.onnxruntime import OnnxRuntimeEngine
from engines.protocol import Score


@pytest.fixture(scope="session")
def double_of_driver(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process with the driver of the tests; skipped without what it is made with."""
    if os.environ.get(shim.REAL):
        pytest.skip("needs the driver of the tests, not the machine's")
    for program in ("gcc", "nm"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("driver")
    shim.build(folder)
    return shim.surroundings(folder)


@pytest.fixture(scope="session")
def any_driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process with the machine's driver where that is wanted, else with the tests'."""
    if os.environ.get(shim.REAL):
        return shim.surroundings(tmp_path_factory.mktemp("double"))
    surroundings: dict[str, str] = request.getfixturevalue("double_of_driver")
    return surroundings


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "small", small_network())


@pytest.fixture(scope="session")
def volumes() -> np.ndarray:
    return small_volumes(6)


@pytest.fixture(scope="session")
def expected(bundle: Path, volumes: np.ndarray) -> Sequence[Score]:
    """What the CPU engine says of the volumes, and of the first again."""
    engine = OnnxRuntimeEngine(load_model(bundle), threads=1)
    return [engine.infer(volume) for volume in [*volumes, volumes[0]]]


@pytest.fixture
def observe(
    any_driver: dict[str, str], bundle: Path, volumes: np.ndarray, tmp_path: Path
) -> contract.Observe:
    """Runs `contract.py` in a process and gives what it saw."""

    def run(
        surroundings: dict[str, str] = any_driver,
        bundle: Path = bundle,
        volumes: np.ndarray = volumes,
        cache: Path | None = None,
    ) -> contract.Seen:
        given, seen = tmp_path / "volumes.npy", tmp_path / "seen.npz"
        np.save(given, volumes)
        seen.unlink(missing_ok=True)
        words = [bundle, given, seen, *([cache] if cache else [])]
        done = subprocess.run(
            [sys.executable, contract.__file__, *words],
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return contract.Seen.read(seen, done.returncode, done.stderr)

    return run
