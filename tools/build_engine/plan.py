"""From the mixed-precision model to a TensorRT plan.

TensorRT-RTX builds ahead of time for the GPUs that are named, without one; TensorRT builds on the GPU that
the plan is to run on and times its kernels there. All of that is in `_AheadOfTime` and `_OnTheGpu`.
https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/ names what is called here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, TypeVar

import onnx

from appliance import durable
from engines.bundle import HARDWARE_COMPATIBLE, VERSION_COMPATIBLE, Flavour
from engines.nvidia import (
    Gpu,
    NvidiaError,
    TensorRTLog,
    gpu,
    load_cuda,
    load_tensorrt,
    offered,
)
from engines.protocol import first_line
from tools.build_engine.tensor_types import mistyped
from tools.problem import WrongInput

TURING: Final = "7.5"
"""Its tensor cores know no FP32: TensorRT-RTX refuses FP32 convolutions and matrix products for it."""

PREFERRED: Final = ("8.0", "8.6", "8.9", "12.0", "12.1")
"""Ampere, Ada Lovelace and Blackwell, as far as TensorRT-RTX offers them."""

_WORKSPACE_SHARE: Final = 0.8
"""Of the GPU's free memory, for what kernels need while they run."""

_LOG: Final = logging.getLogger(__name__)

T = TypeVar("T")

Steps = Callable[[str, int, int], None]


class PlanError(Exception):
    """There is no plan: one sentence with what to do; `detail` is what TensorRT said."""

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Target:
    """What the plan is for. `compute_capabilities` are of TensorRT-RTX alone, none for all that are
    preferred; what follows is of TensorRT alone: whether other versions of it, or other GPUs from Ampere on,
    may run the plan, and the file in which the timings of kernels are kept for the next build."""

    flavour: Flavour
    compute_capabilities: tuple[str, ...] = ()
    version_compatible: bool = False
    hardware_compatible: bool = False
    timing_cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`compute_capabilities` are those that it can run on, `device` is the GPU that it was built on and
    `driver` the version of its driver."""

    content: bytes = field(repr=False)
    tensorrt: str
    compute_capabilities: tuple[str, ...]
    device: str | None
    driver: str | None
    options: dict[str, str | int | bool]


class _Way(Protocol):
    """How a flavour builds."""

    compute_capabilities: tuple[str, ...]
    device: str | None
    driver: str | None

    def configure(self, config: Any) -> dict[str, str | int | bool]:  # noqa: ANN401
        """Set a builder's configuration; what was set."""
        ...

    def built(self) -> None:
        """Keep what the build has learned."""
        ...


def check_target(target: Target) -> None:
    """Raises WrongInput or NvidiaError where nothing can be built for it on this machine."""
    if target.flavour == "enterprise":
        if target.compute_capabilities:
            raise WrongInput(
                "--compute-capability is for --flavour rtx: a plan of --flavour enterprise is for the GPU"
                " that it is built on, so leave it out."
            )
        try:
            load_cuda()
        except NvidiaError as error:
            raise NvidiaError(
                f"--flavour enterprise builds on the GPU that the plan is for, and none can be used: {error}"
            ) from None
        _check_timing_cache(target.timing_cache)
    elif target.version_compatible or target.hardware_compatible or target.timing_cache:
        raise WrongInput(
            "--version-compatible, --hardware-compatible and --timing-cache are for --flavour enterprise:"
            " leave them out; further GPUs are named with --compute-capability."
        )
    _way(load_tensorrt(target.flavour), target)


def _check_timing_cache(file: Path | None) -> None:
    """Before there are timings to lose."""
    if file is None:
        return
    if not (os.access(file.parent, os.W_OK | os.X_OK) and (file.is_file() or not os.path.lexists(file))):
        raise WrongInput(f"{file} is no file that can be written: name another one with --timing-cache.")


def build(model: onnx.ModelProto, target: Target, steps: Steps) -> Plan:
    """Build the plan of a mixed-precision model, with the types that the model's tensors have.

    Raises PlanError, and what `check_target` raises. `steps` hears how far TensorRT is, and of how much.
    """
    trt = load_tensorrt(target.flavour)
    way = _way(trt, target)
    return _without_frames(lambda: _built(trt, way, model, steps))


def check_operators(model: onnx.ModelProto, target: Target) -> None:
    """Raises PlanError where TensorRT cannot take the model, which it says long before it builds."""
    trt = load_tensorrt(target.flavour)
    _without_frames(lambda: _parsed(trt, model, TensorRTLog(trt)))


def _without_frames(work: Callable[[], T]) -> T:
    """Its PlanError comes without its frames, which would keep what TensorRT made: a collection of Python
    would free it, maybe in the middle of TensorRT's logging, and wait for the lock that logging holds."""
    try:
        return work()
    except PlanError as error:
        raise error.with_traceback(None) from None


def _built(trt: ModuleType, way: _Way, model: onnx.ModelProto, steps: Steps) -> Plan:
    log = TensorRTLog(trt)
    builder, network = _parsed(trt, model, log)
    config = builder.create_builder_config()
    config.progress_monitor = _monitor(trt, steps)
    options = way.configure(config)
    content = builder.build_serialized_network(network, config)
    if content is None:
        raise _not_built(log.last_error())
    way.built()
    return Plan(bytes(content), trt.__version__, way.compute_capabilities, way.device, way.driver, options)


def _parsed(trt: ModuleType, model: onnx.ModelProto, log: TensorRTLog) -> tuple[Any, Any]:
    """A builder, and its network of the model."""
    try:
        builder = trt.Builder(log.logger)
    except (RuntimeError, TypeError):
        # What pybind11 makes of a builder that could not be made.
        raise PlanError(
            "TensorRT does not start: look at driver and GPU with nvidia-smi.", log.last_error()
        ) from None
    # From TensorRT 11 on every network is strongly typed, and the flag changes nothing.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse(model.SerializeToString()):
        raise _not_parsed(parser, log)
    if not network.num_outputs:
        raise PlanError("TensorRT found no network in the model: export it again.")
    if wrong := mistyped(trt, network, model):
        raise PlanError(f"TensorRT took {wrong}, so that the plan would not be what was judged: report this.")
    return builder, network


def _way(trt: ModuleType, target: Target) -> _Way:
    return _AheadOfTime(trt, target) if target.flavour == "rtx" else _OnTheGpu.of_this_machine(trt, target)


class _AheadOfTime:
    """TensorRT-RTX: for every GPU that is named."""

    device: str | None = None
    driver: str | None = None

    def __init__(self, trt: ModuleType, target: Target) -> None:
        self._offered = offered(trt)
        for one in target.compute_capabilities:
            if one not in self._offered:
                raise WrongInput(
                    f"--compute-capability {one} is not one of {', '.join(self._offered)}, which TensorRT-RTX"
                    f" {trt.__version__} builds for: name one of them, or build with --flavour enterprise on"
                    " the GPU itself."
                )
        wanted = target.compute_capabilities or PREFERRED
        self.compute_capabilities = tuple(one for one in self._offered if one in wanted)

    def configure(self, config: Any) -> dict[str, str | int | bool]:  # noqa: ANN401
        config.num_compute_capabilities = len(self.compute_capabilities)
        for place, one in enumerate(self.compute_capabilities):
            config.set_compute_capability(self._offered[one], place)
        return {}

    def built(self) -> None:
        """Nothing: there were no timings."""


class _OnTheGpu:
    """TensorRT: for one GPU of this machine, whose free memory is the workspace."""

    def __init__(self, trt: ModuleType, target: Target, found: Gpu, free_bytes: int) -> None:
        self._trt, self._target = trt, target
        self.device: str | None = found.name
        self.driver: str | None = found.driver
        self.compute_capabilities: tuple[str, ...] = (found.compute_capability,)
        self._workspace = int(free_bytes * _WORKSPACE_SHARE)
        self._timings: Any = None

    @classmethod
    def of_this_machine(cls, trt: ModuleType, target: Target) -> _OnTheGpu:
        cuda = load_cuda()
        return cls(trt, target, gpu(cuda), _free_memory(cuda))

    def configure(self, config: Any) -> dict[str, str | int | bool]:  # noqa: ANN401
        trt, target = self._trt, self._target
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, self._workspace)
        if target.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if target.hardware_compatible:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        if target.timing_cache is not None:
            kept = target.timing_cache.read_bytes() if target.timing_cache.exists() else b""
            # It must live until the plan is built.
            self._timings = config.create_timing_cache(kept)
            # One of another GPU or version is refused, and an empty one takes its place.
            if self._timings is None or not config.set_timing_cache(self._timings, ignore_mismatch=False):
                self._timings = config.create_timing_cache(b"")
                config.set_timing_cache(self._timings, ignore_mismatch=False)
        return {
            "workspace_bytes": self._workspace,
            VERSION_COMPATIBLE: target.version_compatible,
            HARDWARE_COMPATIBLE: target.hardware_compatible,
        }

    def built(self) -> None:
        file = self._target.timing_cache
        if file is None:
            return
        try:
            durable.write(file, bytes(self._timings.serialize()))
        except OSError as error:
            # The plan is there, and the next build times its kernels again.
            _LOG.warning("The timings of this build cannot be kept in %s (%s).", file, error.strerror)


def _free_memory(cuda: ModuleType) -> int:
    """In bytes, on the first GPU. Raises NvidiaError when that does not say."""
    try:
        context = _primary_context(cuda)
        context.push()
        try:
            free, _ = cuda.mem_get_info()
            return int(free)
        finally:
            context.pop()
    except cuda.Error as error:
        raise NvidiaError(
            f"The GPU cannot be used ({first_line(error)}): stop what else uses it, and look with nvidia-smi"
        ) from None


@cache
def _primary_context(cuda: ModuleType) -> Any:  # noqa: ANN401
    """Of the first GPU, until this process ends: PyCUDA leaves one that is given back current, and TensorRT,
    which builds in the primary context of this thread, would find one that is gone."""
    return cuda.Device(0).retain_primary_context()


def _not_parsed(parser: Any, log: TensorRTLog) -> PlanError:  # noqa: ANN401
    if not parser.num_errors:
        return PlanError("TensorRT cannot read the model: export it again.", log.last_error())
    first = parser.get_error(0)
    operator = first.node_operator() or "the graph"
    return PlanError(
        f"TensorRT cannot take {operator} ({first.node_name() or 'without a name'}): export the model with"
        " operators that https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md lists.",
        " ".join(str(first.desc()).split()),
    )


def _not_built(said: str) -> PlanError:
    """What to do about TensorRT's last error line."""
    lower = said.lower()
    if "turing" in lower or "sm75" in lower:
        return PlanError(
            f"Turing GPUs ({TURING}) have no FP32 convolution or matrix product, and the model needs one:"
            f" leave --compute-capability {TURING} out, and use the CPU engine there.",
            said,
        )
    if "out of memory" in lower or "outofmemory" in lower or "bad_alloc" in lower:
        return PlanError(
            "TensorRT ran out of memory: end what else uses the GPU and this machine, and build again.", said
        )
    return PlanError("TensorRT could not build the plan, as told below: report it with the model.", said)


def _monitor(trt: ModuleType, steps: Steps) -> Any:  # noqa: ANN401
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """The outermost phase alone: those inside of it come and go."""

        def __init__(self) -> None:
            # pybind11 demands the base's own.
            trt.IProgressMonitor.__init__(self)
            self._sizes: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._sizes[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._sizes:
                steps("TensorRT", step + 1, self._sizes[phase_name])
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._sizes.pop(phase_name, None)

    return Monitor()
