"""ONNX Runtime keeps to itself: it gives this machine no identity to report under."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OPEN = (
    "from engines.bundle import default_model, load_model; from engines.onnxruntime import OnnxRuntimeEngine;"
    "OnnxRuntimeEngine(load_model(default_model()))"
)


def test_an_engine_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", OPEN], env={**environment, "HOME": str(tmp_path)}, check=True, timeout=120
    )
    assert list(tmp_path.iterdir()) == []
