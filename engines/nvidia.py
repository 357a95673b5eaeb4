"""NVIDIA's libraries: the only module that imports TensorRT and PyCUDA, and only when they are used.

TensorRT comes in two flavours whose APIs are the same where they are used here: TensorRT-RTX
(https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/) builds plans ahead of time and without a GPU,
TensorRT (https://docs.nvidia.com/deeplearning/tensorrt/latest/) on the GPU that they run on.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from engines.bundle import Flavour
from engines.protocol import EngineError, first_line

PACKAGES: Final[dict[Flavour, str]] = {"rtx": "tensorrt_rtx", "enterprise": "tensorrt"}
DISTRIBUTIONS: Final[dict[Flavour, str]] = {"rtx": "tensorrt-rtx", "enterprise": "tensorrt"}

_DRIVER: Final = Path("/proc/driver/nvidia/version")
_DRIVER_LIBRARY: Final = "libcuda.so"
_NO_GPU: Final = "no CUDA-capable device"
"""The driver's words for CUDA_ERROR_NO_DEVICE; PyCUDA's exceptions carry no number."""

_LINES_KEPT: Final = 200

_LOG: Final = logging.getLogger("tensorrt")
# A command that logs nothing tells of TensorRT's errors in its own sentences.
_LOG.addHandler(logging.NullHandler())


class NvidiaError(EngineError):
    """NVIDIA's libraries, or a GPU, are not there; the message is one sentence with what to do."""


class NotHere(NvidiaError):
    """What is asked for is not installed, or there is no GPU: nothing is broken."""


def load_tensorrt(flavour: Flavour) -> ModuleType:
    """The TensorRT of a flavour. Raises NvidiaError when it cannot be imported."""
    distribution = DISTRIBUTIONS[flavour]
    try:
        return importlib.import_module(PACKAGES[flavour])
    except ModuleNotFoundError:
        raise NotHere(
            f"{distribution} is not installed: pip install {distribution} where Scanlight is installed"
        ) from None
    except (ImportError, OSError, RuntimeError) as error:
        raise NvidiaError(
            f"{distribution} is installed and cannot be loaded ({first_line(error)}): install it again for"
            " this Python"
        ) from None


def load_cuda() -> ModuleType:
    """PyCUDA's driver API, initialised. Raises NvidiaError where there is no PyCUDA, driver or GPU."""
    try:
        cuda = importlib.import_module("pycuda.driver")
    except ModuleNotFoundError:
        raise NotHere("PyCUDA is not installed: run make pycuda, or pip install pycuda") from None
    except ImportError as error:
        kind = NotHere if _DRIVER_LIBRARY in str(error) else NvidiaError
        raise kind(
            f"PyCUDA cannot be loaded ({first_line(error)}): install NVIDIA's driver, look with nvidia-smi"
        ) from None
    try:
        cuda.init()
        found = cuda.Device.count()
    except cuda.Error as error:
        kind = NotHere if _NO_GPU in str(error) else NvidiaError
        raise kind(
            f"CUDA does not start ({first_line(error)}): look at the driver and the GPU with nvidia-smi"
        ) from None
    if not found:
        raise NotHere("This machine has no NVIDIA GPU: look with nvidia-smi")
    return cuda


def offered(trt: ModuleType) -> dict[str, Any]:
    """The GPUs that a TensorRT-RTX builds for, by compute capability: SM86 is 8.6, SM120 is 12.0."""
    members = trt.ComputeCapability.__members__.items()
    return {f"{name[2:-1]}.{name[-1]}": value for name, value in members if name.startswith("SM")}


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: its name, compute capability such as "8.6", memory, and the version of the driver."""

    name: str
    compute_capability: str
    memory_bytes: int
    driver: str


def gpu(cuda: ModuleType, index: int = 0) -> Gpu:
    """What the driver says of a GPU."""
    device = cuda.Device(index)
    major, minor = device.compute_capability()
    return Gpu(device.name(), f"{major}.{minor}", int(device.total_memory()), _driver_version(cuda))


class TensorRTLog:
    """Takes what TensorRT logs: into Python's logging as `tensorrt`, and the last lines for error messages.

    The reason of a failure is often nowhere else. `logger` is what TensorRT's classes are given; it must
    outlive them.
    """

    def __init__(self, trt: ModuleType) -> None:
        self.lines: deque[tuple[int, str]] = deque(maxlen=_LINES_KEPT)
        self.logger = _logger(trt, self._take)

    def _take(self, level: int, text: str) -> None:
        line = " ".join(text.split())
        self.lines.append((level, line))
        _LOG.log(level, "%s", line)

    def forget(self) -> None:
        """What went well after all: its lines explain no later failure."""
        self.lines.clear()

    def last_error(self) -> str:
        """The last line that told of an error, "" without one."""
        return next((text for level, text in reversed(self.lines) if level >= logging.ERROR), "")


def _logger(trt: ModuleType, take: Any) -> Any:  # noqa: ANN401
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.CRITICAL,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.INFO,
        severity.VERBOSE: logging.DEBUG,
    }

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            # pybind11 demands the base's own.
            trt.ILogger.__init__(self)

        def log(self, severity: object, text: str) -> None:
            take(levels.get(severity, logging.ERROR), text)

    return Logger()


def _driver_version(cuda: ModuleType) -> str:
    """As nvidia-smi prints it, such as 580.65.06; else the newest CUDA that the driver speaks."""
    try:
        found = re.search(
            r"Module.*?\s(\d+(?:\.\d+)+)\s", _DRIVER.read_text(encoding="ascii", errors="replace")
        )
    except OSError:
        found = None
    if found:
        return found.group(1)
    version = int(cuda.get_driver_version())
    return f"CUDA {version // 1000}.{version % 1000 // 10}"
