"""The GPUs, as NVIDIA's management library sees them.

Monitoring must not disturb what it watches: without a GPU, its driver or nvidia-ml-py nothing is told, and
what a GPU does not tell is left out (https://docs.nvidia.com/deploy/nvml-api/).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU now, by its index; `memory_bytes` is what is in use."""

    device: int
    temperature_celsius: float | None
    memory_bytes: float | None
    utilization_ratio: float | None


class Gpus:
    """Keeps the library open from the start on: to load and open it can take longer than a look may."""

    def __init__(self) -> None:
        self._open = False
        self.look()

    def look(self) -> list[Gpu]:
        """Every GPU. A driver that went away and came back is found again."""
        try:
            import pynvml  # noqa: PLC0415
        except ImportError:
            return []
        try:
            if not self._open:
                pynvml.nvmlInit()
                self._open = True
            return [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError:
            if self._open:
                self._open = False
                with suppress(pynvml.NVMLError):
                    pynvml.nvmlShutdown()
            return []


def _gpu(index: int) -> Gpu:
    import pynvml  # noqa: PLC0415

    def told(value: Callable[[], float]) -> float | None:
        try:
            return value()
        except pynvml.NVMLError:
            return None

    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError:
        return Gpu(index, None, None, None)
    return Gpu(
        index,
        told(lambda: float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))),
        told(lambda: float(pynvml.nvmlDeviceGetMemoryInfo(handle).used)),
        told(lambda: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100),
    )
