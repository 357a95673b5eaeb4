"""Stands in for `tensorrt_rtx`: a plan is `vtrt` and an ONNX model, which ONNX Runtime computes on the CPU.

It reads and writes the very addresses that it is given, in the order of the stream, through the CUDA driver
of the process, real or not. Names and signatures are those of the installed bindings, and nothing else of
them is here; `MISUSE` tells what TensorRT would not have survived.
"""

from __future__ import annotations

import ctypes
import enum
import os
import weakref
from functools import cache, partial
from typing import Any

import numpy as np
import onnxruntime

__version__ = "1.7.1.116"

MAGIC = b"vtrt"
HOST_CODE = b"host code"
"""At the head of a plan for other versions of TensorRT too, as such a one brings code along."""
CACHE_MAGIC = b"kernels of the double"
SCRATCH_BYTES = 1 << 20
MISUSE: list[str] = []
SILENT_RUN = int(os.environ.get("DOUBLE_SILENT_RUN", "0"))
"""The run of a plan that writes no output."""


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self) -> None: ...

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class Logger(ILogger):
    def log(self, severity: ILogger.Severity, msg: str) -> None: ...


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ComputeCapability(enum.Enum):
    NONE = 0
    CURRENT = 1
    SM75 = 75
    SM80 = 80
    SM86 = 86
    SM89 = 89
    SM120 = 120
    SM121 = 121


def nptype(trt_type: DataType) -> type:
    return {DataType.FLOAT: np.float32, DataType.HALF: np.float16}[trt_type]


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        if "DOUBLE_NO_RUNTIME" in os.environ:
            logger.log(ILogger.Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self.logger = logger
        self.engine_host_code_allowed = False
        self._engines: weakref.WeakSet[ICudaEngine] = weakref.WeakSet()

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        plan = bytes(serialized_engine)
        if not plan.startswith(MAGIC):
            return self._refuse("the plan does not start with its magic number")
        if plan.startswith(MAGIC + HOST_CODE):
            if not self.engine_host_code_allowed:
                return self._refuse("the plan brings code for the host, which is not allowed")
            plan = plan.replace(HOST_CODE, b"", 1)
        try:
            session = onnxruntime.InferenceSession(
                plan[len(MAGIC) :], _options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            return self._refuse(f"the plan is damaged: {error}")
        engine = ICudaEngine()
        engine._take(session, self.logger)
        self._engines.add(engine)
        return engine

    def _refuse(self, why: str) -> None:
        self.logger.log(ILogger.Severity.ERROR, f"IRuntime::deserializeCudaEngine: {why}")

    def __del__(self) -> None:
        if len(getattr(self, "_engines", ())):
            MISUSE.append("the runtime ended before its engine")


class ICudaEngine:
    def _take(self, session: onnxruntime.InferenceSession, logger: ILogger) -> None:
        self._session, self._logger = session, logger
        self._tensors = [*session.get_inputs(), *session.get_outputs()]
        self._contexts: weakref.WeakSet[IExecutionContext] = weakref.WeakSet()

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return self._tensors[index].name

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensor(name).shape)

    def get_tensor_dtype(self, name: str) -> DataType:
        return {"tensor(float)": DataType.FLOAT, "tensor(float16)": DataType.HALF}[self._tensor(name).type]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        inputs = [tensor.name for tensor in self._session.get_inputs()]
        return TensorIOMode.INPUT if name in inputs else TensorIOMode.OUTPUT

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(
        self, runtime_config: IRuntimeConfig | None = None
    ) -> IExecutionContext | None:
        context = IExecutionContext()
        if failure := context._take(self, runtime_config):
            self._logger.log(ILogger.Severity.ERROR, f"createExecutionContext: Cuda failure: {failure}")
            return None
        self._contexts.add(context)
        return context

    def _tensor(self, name: str) -> Any:
        return next(tensor for tensor in self._tensors if tensor.name == name)

    def __del__(self) -> None:
        if len(self._contexts):
            MISUSE.append("the engine ended before its execution context")


class IRuntimeConfig:
    def __init__(self) -> None:
        self._cache: IRuntimeCache | None = None

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache | None = None) -> bool:
        self._cache = cache
        return True


class IRuntimeCache:
    def __init__(self) -> None:
        self._kernels = b""

    def serialize(self) -> bytes:
        return CACHE_MAGIC + self._kernels

    def deserialize(self, blob: bytes) -> bool:
        if not bytes(blob).startswith(CACHE_MAGIC):
            return False
        self._kernels = bytes(blob).removeprefix(CACHE_MAGIC)
        return True


class IExecutionContext:
    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._staged or not memory:
            return False
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine = self._engine()
        if engine is None:
            MISUSE.append("an execution context ran after its engine had ended")
            return False
        if missing := [name for name in self._staged if name not in self._addresses]:
            return self._refuse(f"the address of {missing[0]} is not set")
        if self._cache is not None:
            self._cache._kernels = b" kept" if self._found else b" compiled"
        self._runs += 1
        results = [self._fetch(name, stream_handle) for name in self._names(engine, TensorIOMode.INPUT)]
        results.append(_driver().cuLaunchHostFunc(stream_handle, self._callback, None))
        if self._runs != SILENT_RUN:
            results += [self._send(name, stream_handle) for name in self._names(engine, TensorIOMode.OUTPUT)]
        return self._refuse(f"Cuda failure {max(results)}") if any(results) else True

    def _take(self, engine: ICudaEngine, config: IRuntimeConfig | None) -> int:
        """Takes pinned memory for each tensor, and some on the device as TensorRT does; CUDA's error or 0."""
        self._engine, self._session, self._logger = weakref.ref(engine), engine._session, engine._logger
        self._cache = config._cache if config else None
        self._found = self._cache is not None and self._cache._kernels != b""
        self._runs = 0
        self._addresses: dict[str, int] = {}
        self._staged: dict[str, np.ndarray] = {}
        self._pinned: list[ctypes.c_void_p] = []
        self._scratch = ctypes.c_uint64()
        # Not a method: TensorRT's objects end with their last reference, not with a garbage collection.
        self._callback = _HOST_FUNCTION(partial(_compute, self._session, self._staged))
        if failure := _driver().cuMemAlloc_v2(ctypes.byref(self._scratch), SCRATCH_BYTES):
            return int(failure)
        for tensor in engine._tensors:
            name, memory = tensor.name, ctypes.c_void_p()
            like = np.empty(engine.get_tensor_shape(name), nptype(engine.get_tensor_dtype(name)))
            if failure := _driver().cuMemHostAlloc(ctypes.byref(memory), like.nbytes, 0):
                return int(failure)
            self._pinned.append(memory)
            raw = (ctypes.c_char * like.nbytes).from_address(memory.value)
            self._staged[name] = np.frombuffer(raw, like.dtype).reshape(like.shape)
        return 0

    def _names(self, engine: ICudaEngine, mode: TensorIOMode) -> list[str]:
        return [name for name in self._staged if engine.get_tensor_mode(name) is mode]

    def _fetch(self, name: str, stream: int) -> int:
        staged = self._staged[name]
        return _driver().cuMemcpyDtoHAsync_v2(
            staged.ctypes.data, self._addresses[name], staged.nbytes, stream
        )

    def _send(self, name: str, stream: int) -> int:
        staged = self._staged[name]
        return _driver().cuMemcpyHtoDAsync_v2(
            self._addresses[name], staged.ctypes.data, staged.nbytes, stream
        )

    def _refuse(self, why: str) -> bool:
        self._logger.log(ILogger.Severity.ERROR, f"IExecutionContext::enqueueV3: {why}")
        return False

    def __del__(self) -> None:
        self._staged.clear()
        freed = [_driver().cuMemFreeHost(memory) for memory in self._pinned]
        if self._scratch.value:
            freed.append(_driver().cuMemFree_v2(self._scratch))
        if any(freed):
            MISUSE.append(f"an execution context ended without its CUDA context: error {max(freed)}")


_HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_ADDRESS = ctypes.c_uint64
_FUNCTIONS = {
    "cuMemAlloc_v2": [ctypes.POINTER(_ADDRESS), ctypes.c_size_t],
    "cuMemFree_v2": [_ADDRESS],
    "cuMemHostAlloc": [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_uint],
    "cuMemFreeHost": [ctypes.c_void_p],
    "cuMemcpyDtoHAsync_v2": [ctypes.c_void_p, _ADDRESS, ctypes.c_size_t, ctypes.c_void_p],
    "cuMemcpyHtoDAsync_v2": [_ADDRESS, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p],
    "cuLaunchHostFunc": [ctypes.c_void_p, _HOST_FUNCTION, ctypes.c_void_p],
}


def _compute(session: onnxruntime.InferenceSession, staged: dict[str, np.ndarray], _: object) -> None:
    """Called by the driver, between the copies; when ONNX Runtime fails, what is sent is NaN."""
    inputs = {tensor.name: staged[tensor.name] for tensor in session.get_inputs()}
    names = [tensor.name for tensor in session.get_outputs()]
    for name in names:
        staged[name].fill(np.nan)
    for name, output in zip(names, session.run(names, inputs), strict=True):
        np.copyto(staged[name], output)


@cache
def _driver() -> ctypes.CDLL:
    """The one that PyCUDA has loaded, by its name."""
    driver = ctypes.CDLL("libcuda.so.1")
    for name, parameters in _FUNCTIONS.items():
        getattr(driver, name).argtypes = parameters
    return driver


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return options
