"""One model on the GPU of this machine: `python -m tools.gpu.measure MODEL SECONDS` prints one JSON object.

An ONNX model is built into a plan first, as `settled` knows that `scanlight build-engine` builds it, or with
head and heatmap alone in FP32; a bundle is run as it is. Latency comes first, while the machine does nothing
else; then the CPU reads phantoms in FP32 beside it, as many as there is time for.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from engines.bundle import Bundle, BundleError, ModelFile, ParityInfo, PlanInfo, load_model
from engines.nvidia import NvidiaError, gpu, load_cuda
from engines.onnxruntime import OnnxRuntimeEngine
from engines.protocol import DeviceLost, Engine, EngineError, Float32
from engines.tensorrt import TensorRTEngine
from tools.build_engine.plan import PlanError, Target, build, check_target
from tools.build_engine.precision import mixed
from tools.build_engine.settle import always_fp32
from tools.build_engine.source import read_source
from tools.build_engine.volumes import each_phantom
from tools.doctor.memory import Memory
from tools.doctor.parity import FIRST_SEED, agreement
from tools.doctor.speed import at_first_and_last
from tools.gpu.report import NOT_DONE, PHANTOMS, VOLUMES
from tools.gpu.settled import settled
from tools.problem import WrongInput

SPARE: Final = 10
"""Phantoms made in place of those whose lungs a grid cannot hold."""

SPEED_SHARE: Final = 0.4
"""Of the time, for latency; the rest is for the phantoms."""

WARM_UP: Final = 10
LOOK_EVERY: Final = 20


@dataclass(frozen=True)
class Speed:
    """Milliseconds of a volume by percentile, and the median of each step; MiB, the median of the first
    and of the last tenth, and of what they are."""

    volumes: int
    volumes_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    slowest_ms: float
    steps_ms: dict[str, float]
    memory_first_mib: float
    memory_last_mib: float
    memory_of: str


def built(path: Path) -> tuple[ModelFile, float, bool]:
    """The model with a plan for this machine's GPU, seconds that it took, and whether the plan has in FP32
    what the gate asks for; in memory alone.

    Raises BundleError, WrongInput, PlanError or NvidiaError.
    """
    began = time.monotonic()
    model = load_model(path)
    if model.bundle is not None:
        return model, 0.0, True
    source, target = read_source(path), _target()
    kept = settled(source.file.digest)
    fp16 = mixed(source.graph, kept or frozenset(always_fp32(source.graph, all_half=False)))
    plan = build(fp16, target, lambda *_: None)
    info = PlanInfo(
        file="engine.plan",
        onnx="model.fp16.onnx",
        known_answers="known-answers.json",
        flavour=target.flavour,
        tensorrt=plan.tensorrt,
        compute_capabilities=plan.compute_capabilities,
        device=plan.device,
        driver=plan.driver,
        options=plan.options,
        # Nothing was measured before: that is what this is for.
        parity=ParityInfo(volumes=1, near=0, largest_delta=0, lowest_correlation=None, trained=False),
    )
    digest = hashlib.sha256(plan.content).hexdigest()
    bundle = Bundle(path.parent, digest, info, plan.content, b"")
    return replace(source.file, bundle=bundle), time.monotonic() - began, kept is not None


def speed(engine: Engine, volumes: int, until: float) -> Speed:
    """Read so many volumes one after the other, or fewer when the monotonic clock says `until`."""
    hu = np.random.default_rng(1).normal(-600, 300, engine.spec.grid.size).astype(np.float32)
    for _ in range(WARM_UP):
        engine.infer(hu)
    taken, memory_mib = [], []
    steps: dict[str, list[float]] = {}
    memory = Memory(engine)
    began = time.monotonic()
    for number in range(volumes):
        started = time.perf_counter()
        score = engine.infer(hu)
        taken.append((time.perf_counter() - started) * 1000)
        for name, ms in score.timings_ms.items():
            steps.setdefault(name, []).append(ms)
        if number % LOOK_EVERY == 0:
            memory_mib.append(memory.mib())
        if time.monotonic() > until:
            break
    p50, p95, p99 = np.percentile(taken, (50, 95, 99))
    return Speed(
        len(taken),
        len(taken) / (time.monotonic() - began),
        float(p50),
        float(p95),
        float(p99),
        max(taken),
        {name: float(np.median(ms)) for name, ms in steps.items()},
        *at_first_and_last(memory_mib),
        memory.of,
    )


def main() -> None:
    try:
        found = measure(Path(sys.argv[1]), float(sys.argv[2]))
    except _NoTensorRTError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(NOT_DONE)
    except (BundleError, DeviceLost, EngineError, PlanError, WrongInput) as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(found) + "\n")


def measure(path: Path, seconds: float) -> dict[str, object]:
    """Raises what `built` does, EngineError, and DeviceLost."""
    began = time.monotonic()
    model, build_s, is_settled = built(path)
    assert model.bundle is not None
    engine = TensorRTEngine(model)
    found: dict[str, object] = {
        "model": model.spec.name,
        "grid": model.spec.grid.size,
        "trained": model.spec.intended_use != "placeholder",
        "settled": is_settled,
        "identity": asdict(engine.identity),
        "build_s": build_s,
        "plan_mb": len(model.bundle.plan) / 1e6,
        "opened_after_s": time.monotonic() - began,
        "speed": asdict(speed(engine, VOLUMES, time.monotonic() + seconds * SPEED_SHARE)),
    }
    reference = OnnxRuntimeEngine(model)
    found["against_cpu"] = asdict(
        agreement(engine, reference, _phantoms(model, began + seconds), model.spec.operating_point)
    )
    engine.close()
    return found


def _phantoms(model: ModelFile, until: float) -> Iterator[Float32]:
    made = each_phantom(model.spec.grid, range(FIRST_SEED, FIRST_SEED + PHANTOMS + SPARE))
    for _, hu in islice(made, PHANTOMS):
        if time.monotonic() > until:
            break
        yield hu


class _NoTensorRTError(PlanError):
    """No TensorRT that is here builds for this GPU."""


def _target() -> Target:
    """The TensorRT that is here and builds for this GPU. Raises _NoTensorRTError when none does."""
    capability = gpu(load_cuda()).compute_capability
    problems: list[Exception] = []
    for target in (Target("rtx", (capability,)), Target("enterprise")):
        try:
            check_target(target)
        except (NvidiaError, PlanError) as error:
            problems.append(error)
        else:
            return target
    raise _NoTensorRTError("; ".join(map(str, problems)))


if __name__ == "__main__":
    main()
