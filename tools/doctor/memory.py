"""What this process holds: its memory, and with it that of the GPU on which its engine runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engines.nvidia import load_cuda
from engines.protocol import Engine

MIB: Final = 2**20
_PROCESS: Final = "of this process"

_Told = Callable[[], float | None]
"""Bytes on the GPU; None where its driver does not tell."""


class Memory:
    """`of` says of what it is: a driver in a container may know of no process, or of nothing."""

    def __init__(self, engine: Engine) -> None:
        self.of, self._ask = _source(engine)
        self._on_gpu = 0.0

    def mib(self) -> float:
        """Now (proc_pid_statm(5)); where the driver tells nothing this time, with what it told before."""
        told = self._ask()
        self._on_gpu = self._on_gpu if told is None else told
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return (pages * os.sysconf("SC_PAGE_SIZE") + self._on_gpu) / MIB


def _source(engine: Engine) -> tuple[str, _Told]:
    """Chosen once: what is compared must be of the same."""
    if engine.identity.runner != "tensorrt":
        return _PROCESS, _nothing
    own, whole = _on_the_gpu()
    if own() is not None:
        return f"{_PROCESS} and of it on the GPU", own
    if whole() is not None:
        return f"{_PROCESS} and of all on its GPU, whose driver does not tell them apart here", whole
    return f"{_PROCESS} without the GPU, whose driver tells nothing here", _nothing


def _nothing() -> None:
    """Where there is no GPU to ask."""


def _on_the_gpu() -> tuple[_Told, _Told]:
    """What this process, and what all hold on the engine's GPU (https://docs.nvidia.com/deploy/nvml-api/)."""
    try:
        import pynvml  # noqa: PLC0415
    except ImportError:
        return _nothing, _nothing
    try:
        pynvml.nvmlInit()
        # CUDA and this library number the GPUs differently.
        device = pynvml.nvmlDeviceGetHandleByPciBusId(load_cuda().Device(0).pci_bus_id())
    except pynvml.NVMLError:
        return _nothing, _nothing

    def own() -> float | None:
        try:
            processes = pynvml.nvmlDeviceGetComputeRunningProcesses(device)
        except pynvml.NVMLError:
            return None
        # In a container the numbers may be those outside of it.
        mine = [one.usedGpuMemory for one in processes if one.pid == os.getpid()]
        return float(mine[0]) if mine and mine[0] is not None else None

    def whole() -> float | None:
        try:
            return float(pynvml.nvmlDeviceGetMemoryInfo(device).used)
        except pynvml.NVMLError:
            return None

    return own, whole
