"""Chooses the runner for a model."""

from __future__ import annotations

from pathlib import Path

from engines.bundle import ModelFile, load_model
from engines.onnxruntime import OnnxRuntimeEngine
from engines.protocol import DeviceLost, Engine, EngineError, EngineKind
from engines.tensorrt import TensorRTEngine


def open_engine(
    model: Path | ModelFile,
    kind: EngineKind = "auto",
    threads: int | None = None,
    cache: Path | None = None,
) -> Engine:
    """Open a model: an ONNX file or a bundle, on the thread that is to run it.

    `tensorrt` runs the plan of a bundle on the GPU, `cpu` the model itself. `auto` takes the GPU where the
    model has a plan that runs on this machine, and else the CPU, whose identity then says why, also when the
    GPU fails while it is opened: a start over and over would read nothing. `threads` is for the CPU, `cache`
    the folder for what a GPU keeps from one start to the next.

    Raises BundleError when it cannot be loaded, EngineError when it cannot be run, and with `tensorrt`
    DeviceLost when the GPU fails meanwhile.
    """
    model = load_model(model) if isinstance(model, Path) else model
    if kind == "tensorrt":
        return TensorRTEngine(model, cache)
    why = ""
    if kind == "auto" and model.bundle is not None:
        try:
            return TensorRTEngine(model, cache)
        except (DeviceLost, EngineError) as error:
            why = str(error)
    return OnnxRuntimeEngine(model, threads, why)
