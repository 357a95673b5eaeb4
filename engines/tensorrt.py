"""The GPU engine: a bundle's TensorRT plan, run through PyCUDA.

One class for TensorRT-RTX and TensorRT, whose runtime API is the same. It lives on the thread that opened it:
PyCUDA gives a primary context back only there.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engines.bundle import HARDWARE_COMPATIBLE, VERSION_COMPATIBLE, Bundle, ModelFile
from engines.nvidia import (
    DISTRIBUTIONS,
    Gpu,
    TensorRTLog,
    gpu,
    load_cuda,
    load_tensorrt,
    offered,
)
from engines.protocol import DeviceLost, EngineError, EngineIdentity, Float32, Score, first_line
from engines.spec import ModelSpec
from engines.tensors import Output, Tensor, check_signature, heatmap, input_tensor, probability

_LOG: Final = logging.getLogger("tensorrt")
_REPORT: Final = "try scanlight engine verify, and report it with the log"


class TensorRTEngine:
    """Runs the plan of a bundle on the first GPU.

    `cache` is a folder in which TensorRT-RTX keeps the kernels that it compiled for this GPU, so that the
    next start need not. Raises EngineError when the machine, the libraries and the plan do not go together.
    """

    def __init__(self, model: ModelFile, cache: Path | None = None) -> None:
        if model.bundle is None:
            raise EngineError(
                f"model {model.path.name} has no TensorRT plan: build one with"
                f" scanlight build-engine {model.path.name} --out BUNDLE"
            )
        self._model, self._bundle = model, model.bundle
        self._trt = load_tensorrt(self._bundle.info.flavour)
        _check_version(model, self._bundle, self._trt)
        self._cuda = load_cuda()
        self._gpu = gpu(self._cuda)
        again = _rebuild(model, self._bundle, self._trt, self._gpu)
        _check_gpu(self._bundle, self._gpu, again)
        if caution := other_driver(model, self._gpu.driver):
            _LOG.warning("%s", caution)
        self._log = TensorRTLog(self._trt)
        self._thread = threading.get_ident()
        self._context: Any = None
        self._plan: _LoadedPlan | None = None
        try:
            self._context = self._cuda.Device(0).retain_primary_context()
            with self._current():
                kernels = _Kernels(self._cached(cache))
                self._plan = _LoadedPlan(
                    self._trt, self._cuda, self._bundle, self.spec, self._log, kernels, again
                )
                air = np.full(self.spec.grid.size, self.spec.grid.fill_hu, np.float32)
                # The first run compiles and allocates what the later ones use.
                self._plan.run(input_tensor(air, self.spec))
                self._plan.keep_kernels()
        except self._cuda.Error as error:
            self.close()
            raise EngineError(
                f"the GPU cannot be made ready ({first_line(error)}): stop what else uses it, and look with"
                " nvidia-smi"
            ) from None
        except BaseException:
            self.close()
            raise

    @property
    def spec(self) -> ModelSpec:
        return self._model.spec

    @property
    def digest(self) -> str:
        return self._model.digest

    @property
    def identity(self) -> EngineIdentity:
        flavour = f"{DISTRIBUTIONS[self._bundle.info.flavour]} {self._trt.__version__}"
        return EngineIdentity("tensorrt", flavour, self._gpu.name, self._gpu.driver)

    def infer(self, volume: Float32) -> Score:
        """Score a float32 HU volume [D, H, W]; see `engines.protocol.Engine`."""
        started = time.perf_counter()
        tensor = input_tensor(volume, self.spec)
        prepared = time.perf_counter()
        with self._current():
            assert self._plan is not None
            outputs, timings = self._plan.run(tensor)
            computed = time.perf_counter()
            score, cells = probability(outputs[self.spec.output], self.spec), None
            if self.spec.heatmap:
                # The next run writes over what this one gave.
                cells = heatmap(outputs[self.spec.heatmap], self.spec).copy()
        finished = time.perf_counter()
        timings |= {
            "prepare": (prepared - started) * 1000,
            "compute": (computed - prepared) * 1000,
            "finish": (finished - computed) * 1000,
        }
        return Score(score, cells, timings)

    def close(self) -> None:
        """Give back the GPU: wait for its work, free what lies there, and let go of the context."""
        if self._context is None:
            return
        with suppress(DeviceLost), self._current():
            if self._plan is not None:
                self._plan.free()
        context, self._context, self._plan = self._context, None, None
        if context is not None:
            with suppress(self._cuda.Error):
                context.detach()

    @contextmanager
    def _current(self) -> Iterator[None]:
        """The context is current inside; one that is still pushed when a thread ends aborts the process.

        Raises DeviceLost when the driver fails inside: what it held is neither freed nor used any more.
        """
        self._check_thread()
        context = self._context
        if context is None:
            raise DeviceLost("the GPU was lost, or its engine is closed: open it in a new process")
        try:
            context.push()
            try:
                yield
            finally:
                context.pop()
        except self._cuda.Error as error:
            _never_free(context, self._plan)
            self._context = self._plan = None
            raise DeviceLost(
                f"the GPU failed ({first_line(error)}): look for Xid messages in the kernel's log; only a new"
                " process can use it again"
            ) from None

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise EngineError("a GPU engine is used on the thread that opened it: open one on each thread")

    def _cached(self, folder: Path | None) -> Path | None:
        """The file for this bundle on this GPU and driver; TensorRT has no such cache."""
        if folder is None or self._bundle.info.flavour != "rtx":
            return None
        key = (self._bundle.digest, self._trt.__version__, self._gpu.name, self._gpu.driver)
        return folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.rtx"


class _Kernels:
    """The kernels that TensorRT-RTX compiled, in a file between two processes."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._kept = b""

    def read(self) -> bytes:
        """What was kept, b"" without."""
        if self.file is not None:
            with suppress(OSError):
                self._kept = self.file.read_bytes()
        return self._kept

    def keep(self, content: bytes) -> None:
        """A cache that cannot be written costs the next start its time and nothing else."""
        if self.file is None or content == self._kept:
            return
        new = self.file.with_suffix(".new")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(content)
            new.replace(self.file)
        except OSError as error:
            _LOG.warning("the kernels of the plan cannot be kept (%s)", error.strerror)
        self._kept = content


class _Buffer:
    """One tensor: in pinned memory of the host, and on the device. Its address never changes."""

    def __init__(self, cuda: ModuleType, tensor: Tensor) -> None:
        shape = tuple(int(size) for size in tensor.shape if isinstance(size, int))
        self.host: npt.NDArray[Any] = cuda.pagelocked_empty(shape, tensor.dtype)
        try:
            self.device = cuda.mem_alloc(self.host.nbytes)
        except BaseException:
            self._free_host()
            raise

    def free(self) -> None:
        self.device.free()
        self._free_host()

    def _free_host(self) -> None:
        allocation: Any = self.host.base
        allocation.free()


class _LoadedPlan:
    """A plan and all that it needs to run, made and freed while the engine's context is current."""

    _runtime: Any
    _engine: Any
    _config: Any
    _cache: Any
    _execution: Any
    _stream: Any

    def __init__(
        self,
        trt: ModuleType,
        cuda: ModuleType,
        bundle: Bundle,
        spec: ModelSpec,
        log: TensorRTLog,
        kernels: _Kernels,
        again: str,
    ) -> None:
        self._cuda, self._spec, self._log, self._kernels = cuda, spec, log, kernels
        self._cache = self._stream = None
        self._buffers: dict[str, _Buffer] = {}
        self._held = ExitStack()
        try:
            self._load(trt, bundle, again)
            self._allocate(trt)
        except cuda.MemoryError:
            self.free()
            raise EngineError(
                f"the GPU has not enough free memory for bundle {bundle.folder.name}: stop what else uses it"
            ) from None
        except BaseException:
            self.free()
            raise

    def _load(self, trt: ModuleType, bundle: Bundle, again: str) -> None:
        try:
            self._hold("_runtime", trt.Runtime(self._log.logger))
        except (RuntimeError, TypeError):
            # What pybind11 makes of a runtime that TensorRT does not give, as with a driver that is too old.
            raise EngineError(
                f"TensorRT does not start ({self._said()}): update NVIDIA's driver, or install the"
                f" {DISTRIBUTIONS[bundle.info.flavour]} that this one is for and {again}"
            ) from None
        if bundle.info.options.get(VERSION_COMPATIBLE):
            # Such a plan brings code of its own; the bundle's hashes vouch for it.
            self._runtime.engine_host_code_allowed = True
        self._hold("_engine", self._runtime.deserialize_cuda_engine(bundle.plan))
        if self._engine is None:
            raise EngineError(
                f"the plan of bundle {bundle.folder.name} cannot be loaded ({self._said()}): {again}"
            )
        if self._kernels.file is None:
            self._hold("_execution", self._engine.create_execution_context())
        else:
            self._hold("_config", self._engine.create_runtime_config())
            self._hold("_cache", self._config.create_runtime_cache())
            kept = self._kernels.read()
            if kept and not self._cache.deserialize(kept):
                _LOG.info("the kept kernels are of another environment and are compiled again")
            self._config.set_runtime_cache(self._cache)
            self._hold("_execution", self._engine.create_execution_context(self._config))
        if self._execution is None:
            raise EngineError(
                f"the plan of bundle {bundle.folder.name} cannot be made ready on the GPU ({self._said()}):"
                " look at its free memory with nvidia-smi"
            )

    def _allocate(self, trt: ModuleType) -> None:
        cuda, tensors = self._cuda, self._tensors(trt)
        inputs = [name for name in tensors if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        check_signature(
            {name: tensors[name] for name in inputs},
            {name: tensor for name, tensor in tensors.items() if name not in inputs},
            self._spec,
        )
        self._stream = cuda.Stream()
        self._events = [cuda.Event() for _ in range(4)]
        for name, tensor in tensors.items():
            buffer = self._buffers[name] = _Buffer(cuda, tensor)
            self._held.callback(buffer.free)
            if not self._execution.set_tensor_address(name, int(buffer.device)):
                raise EngineError(f"TensorRT does not take a buffer for {name} ({self._said()}): {_REPORT}")

    def _tensors(self, trt: ModuleType) -> dict[str, Tensor]:
        """The inputs and outputs of the plan."""
        engine = self._engine
        return {
            name: Tensor(
                np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name, tuple(engine.get_tensor_shape(name))
            )
            for name in map(engine.get_tensor_name, range(engine.num_io_tensors))
        }

    def run(self, tensor: Float32) -> tuple[dict[str, Output], dict[str, float]]:
        """The outputs of an input tensor, valid until the next run, and milliseconds of each step by the GPU.

        Raises EngineError when TensorRT refuses, PyCUDA's Error when the GPU or the driver fails.
        """
        cuda, stream = self._cuda, self._stream
        begun, sent, computed, fetched = self._events
        source = self._buffers[self._spec.input]
        outputs = {name: buffer for name, buffer in self._buffers.items() if buffer is not source}
        for buffer in outputs.values():
            # NaN: what a run does not write must never be taken for its result, least of all the last one's.
            buffer.host.fill(np.nan)
            cuda.memset_d8_async(int(buffer.device), 0xFF, buffer.host.nbytes, stream)
        np.copyto(source.host, tensor)
        begun.record(stream)
        cuda.memcpy_htod_async(source.device, source.host, stream)
        sent.record(stream)
        self._log.forget()
        started = self._execution.execute_async_v3(stream.handle)
        computed.record(stream)
        for buffer in outputs.values():
            cuda.memcpy_dtoh_async(buffer.host, buffer.device, stream)
        fetched.record(stream)
        stream.synchronize()
        if not started:
            raise EngineError(f"TensorRT did not run the plan ({self._said()}): {_REPORT}")
        timings = {
            "host_to_device": begun.time_till(sent),
            "execute": sent.time_till(computed),
            "device_to_host": computed.time_till(fetched),
        }
        return {name: buffer.host for name, buffer in outputs.items()}, timings

    def keep_kernels(self) -> None:
        if self._cache is not None:
            self._kernels.keep(bytes(self._cache.serialize()))

    def free(self) -> None:
        """Everything, last made first, once the device has done its work."""
        try:
            if self._stream is not None:
                self._stream.synchronize()
        except self._cuda.Error:
            _never_free(self)
            raise
        with self._held:
            self._stream, self._events = None, []

    def _hold(self, name: str, thing: object) -> None:
        """An attribute that is dropped at its turn: TensorRT frees an object with its last reference."""
        setattr(self, name, thing)
        self._held.callback(setattr, self, name, None)

    def _said(self) -> str:
        return self._log.last_error() or "TensorRT says no more"


def _never_free(*things: object) -> None:
    """PyCUDA's destructors abort the process when the device does not answer, also while Python ends."""
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _check_version(model: ModelFile, bundle: Bundle, trt: ModuleType) -> None:
    """Raise EngineError when the plan was built by another TensorRT."""
    info, installed = bundle.info, trt.__version__
    same = installed == info.tensorrt
    if info.options.get(VERSION_COMPATIBLE):
        same = _runs_plans_of(installed, info.tensorrt)
    if not same:
        raise EngineError(
            f"bundle {bundle.folder.name} was built by {DISTRIBUTIONS[info.flavour]} {info.tensorrt} and"
            f" {installed} is installed: {_rebuild(model, bundle, trt)}"
        )


def _runs_plans_of(installed: str, built: str) -> bool:
    """Whether a TensorRT runs the version-compatible plans of another: of its own major version, up to itself
    (https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html#version-compatibility)."""
    here, there = _numbers(installed), _numbers(built)
    return here[:1] == there[:1] and here >= there


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def _check_gpu(bundle: Bundle, found: Gpu, again: str) -> None:
    """Raise EngineError when the plan was built for another GPU."""
    info, name = bundle.info, bundle.folder.name
    anywhere = bool(info.options.get(HARDWARE_COMPATIBLE)) and _since_ampere(found.compute_capability)
    if found.compute_capability not in info.compute_capabilities and not anywhere:
        raise EngineError(
            f"bundle {name} was built for compute capability {', '.join(info.compute_capabilities)} and the"
            f" {found.name} has {found.compute_capability}: {again}"
        )
    if info.device not in (None, found.name) and not anywhere:
        raise EngineError(f"bundle {name} was built on a {info.device} and this is a {found.name}: {again}")


def other_driver(model: ModelFile, driver: str) -> str:
    """One sentence where the plan was built and timed with another driver than this; "" elsewhere.

    It runs all the same: a plan is tied to TensorRT and GPU
    (https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html#version-compatibility),
    an acceptance to the driver too.
    """
    bundle = model.bundle
    if bundle is None or bundle.info.driver in (None, driver):
        return ""
    again = _rebuild(model, bundle, load_tensorrt(bundle.info.flavour))
    return (
        f"bundle {bundle.folder.name} was built with driver {bundle.info.driver} and this is {driver}, with"
        f" which other kernels may be faster: {again}"
    )


def _since_ampere(compute_capability: str) -> bool:
    """What TensorRT's HardwareCompatibilityLevel.AMPERE_PLUS makes a plan for."""
    return _numbers(compute_capability) >= [8, 0]


def _rebuild(model: ModelFile, bundle: Bundle, trt: ModuleType, found: Gpu | None = None) -> str:
    """What to do about a plan that does not fit: the command that builds it again, for the GPU that was found
    or else for the same ones."""
    info = bundle.info
    wanted = (found.compute_capability,) if found else info.compute_capabilities
    if info.flavour == "rtx" and set(wanted) <= offered(trt).keys():
        options = ["--flavour rtx", *(f"--compute-capability {one}" for one in wanted)]
    else:
        kept = (VERSION_COMPATIBLE, HARDWARE_COMPATIBLE)
        options = [
            "--flavour enterprise",
            *(f"--{name.replace('_', '-')}" for name in kept if info.options.get(name)),
        ]
    return (
        f"build it again with scanlight build-engine {shlex.quote(str(model.path))} --out NEW"
        f" {' '.join(options)}"
    )
