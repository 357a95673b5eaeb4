"""The machine: engine, GPU, driver, memory, versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from appliance.config import Config
from engines.bundle import ModelFile
from engines.nvidia import Gpu, gpu, load_cuda
from engines.protocol import Engine
from tools.doctor.check import Check, judged, not_done

GIB: Final = 2**30
GPU_MEMORY_GIB: Final = 2.0
"""More than the largest network takes with its plan, its activations and CUDA's own context."""

_ON_THE_CPU: Final = "the engine runs on the processor"
_FOR_A_GPU: Final = "nothing, or set model to a bundle and engine: auto to use a GPU"


def machine(config: Config, model: ModelFile, engine: Engine) -> Iterator[Check]:
    identity = engine.identity
    yield judged(
        "Engine",
        not identity.why,
        f"{identity.runner}, {identity.flavour}, on {identity.device}"
        + (f": {identity.why}" if identity.why else ""),
        f"engine: {config.engine}"
        + (", the bundle's plan on the GPU" if model.bundle and config.engine == "auto" else ""),
        "do what the sentence says, or set engine: cpu so that the processor is what you accept",
    )
    if identity.runner == "tensorrt":
        yield from _gpu(gpu(load_cuda()), model)
    else:
        for name, limit in (
            ("GPU", "one that the plan is built for"),
            ("Driver", "one with which the plan runs"),
            ("GPU memory", f"at least {GPU_MEMORY_GIB:g} GiB"),
        ):
            yield not_done(name, _ON_THE_CPU, limit, _FOR_A_GPU)
    yield memory(config.memory_budget_mb)
    yield versions()


def _gpu(found: Gpu, model: ModelFile) -> Iterator[Check]:
    capabilities = ", ".join(model.bundle.info.compute_capabilities) if model.bundle else ""
    # An engine that runs has already refused what it cannot run on.
    yield judged(
        "GPU",
        True,
        f"{found.name}, compute capability {found.compute_capability}",
        f"the plan is for {capabilities}",
        "",
    )
    yield judged("Driver", True, found.driver, "one with which the plan runs", "")
    yield judged(
        "GPU memory",
        found.memory_bytes >= GPU_MEMORY_GIB * GIB,
        f"{found.memory_bytes / GIB:.1f} GiB",
        f"at least {GPU_MEMORY_GIB:g} GiB",
        "put in a GPU with more memory, or set engine: cpu",
    )


def memory(budget_mb: int, meminfo: Path = Path("/proc/meminfo")) -> Check:
    """What programs can still get, beside a daemon that may run (proc_meminfo(5))."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
    available_mb = int(fields["MemAvailable"].split()[0]) / 1024
    return judged(
        "Memory",
        available_mb >= budget_mb,
        f"{available_mb / 1024:.1f} GiB available",
        f"at least memory_budget_mb, {budget_mb} MiB",
        "end what else uses the memory, add some, or set a smaller memory_budget_mb",
    )


def versions() -> Check:
    return judged(
        "Versions",
        True,
        f"Scanlight {version('scanlight')}, Python {platform.python_version()}, ONNX Runtime"
        f" {version('onnxruntime')}, Linux {platform.release()}",
        "those that are installed; another Scanlight is accepted anew",
        "",
    )
