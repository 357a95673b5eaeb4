"""The GPUs, as NVIDIA's management library sees them.

Monitoring must not disturb what it watches: without a GPU, its driver or nvidia-ml-py nothing is told, and
what a GPU does not tell is left out (https://docs.nvidia.com/deploy/nvml-api/). A driver may hang, and holds
up no more than the thread that asks it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

LOOK_S: Final = 5.0
OLD_S: Final = 15.0
"""What was told so long ago is told no more."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU now, by its index; `memory_bytes` is what is in use."""

    device: int
    temperature_celsius: float | None
    memory_bytes: float | None
    utilization_ratio: float | None


class Gpus(threading.Thread):
    """Asks the driver every few seconds, until `stop`; keeps its library open from one look to the next."""

    def __init__(self) -> None:
        super().__init__(name="gpus", daemon=True)
        self._open = False
        self._seen: tuple[float, tuple[Gpu, ...]] = (0.0, ())
        self._stopping = threading.Event()

    def told(self, now: float) -> tuple[Gpu, ...]:
        """Every GPU as it was seen last, none once that is old. Never waits."""
        at, gpus = self._seen
        return gpus if now - at <= OLD_S else ()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            self._seen = began, self.look()
            self._stopping.wait(LOOK_S)

    def look(self) -> tuple[Gpu, ...]:
        """Every GPU, now. A driver that went away and came back is found again."""
        try:
            import pynvml  # noqa: PLC0415
        except ImportError:
            return ()
        try:
            if not self._open:
                pynvml.nvmlInit()
                self._open = True
            return tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
        except pynvml.NVMLError:
            if self._open:
                self._open = False
                with suppress(pynvml.NVMLError):
                    pynvml.nvmlShutdown()
            return ()


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
