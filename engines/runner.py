"""Chooses the runner for a model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from engines.bundle import ModelFile, load_model
from engines.onnxruntime import OnnxRuntimeEngine
from engines.protocol import Engine

EngineKind = Literal["auto", "cpu"]


def open_engine(model: Path | ModelFile, kind: EngineKind = "auto", threads: int | None = None) -> Engine:
    """Open a model: an ONNX file or a bundle. Both kinds run it on the CPU, which every machine has.

    Raises BundleError when it cannot be loaded, EngineError when it cannot be run.
    """
    return OnnxRuntimeEngine(load_model(model) if isinstance(model, Path) else model, threads)
