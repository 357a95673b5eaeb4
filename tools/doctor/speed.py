"""How long the engine takes for a volume, how many it does in a minute, and whether its memory stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engines.protocol import Engine
from tools.doctor.check import Check, judged
from tools.doctor.memory import Memory

READING_MS: Final = 1000.0
"""A reading takes under a second; at the 95th percentile."""

VOLUMES_A_MINUTE: Final = 60.0
GROWTH_MB: Final = 16.0
MINUTE_S: Final = 60.0
LOOK_S: Final = 0.5
FEWEST: Final = 10
WARM_UP: Final = 3
"""The first volumes allocate what the others use."""


@dataclass(frozen=True, slots=True)
class Run:
    """Milliseconds of each volume in order, seconds in all, the memory from time to time in MiB, and of
    what it is."""

    taken_ms: tuple[float, ...]
    seconds: float
    memory_mib: tuple[float, ...]
    memory_of: str


def run(engine: Engine, seconds: float, progress: Callable[[float], None]) -> Run:
    """Volume after volume for so many seconds. Raises EngineError."""
    spec = engine.spec
    hu = np.random.default_rng(1).normal(-600, 300, spec.grid.size).astype(np.float32)
    for _ in range(WARM_UP):
        engine.infer(hu)
    taken: list[float] = []
    memory = Memory(engine)
    memory_mib: list[float] = []
    began = looked = time.monotonic()
    while (passed := time.monotonic() - began) < seconds or len(taken) < FEWEST:
        started = time.perf_counter()
        engine.infer(hu)
        taken.append((time.perf_counter() - started) * 1000)
        if not memory_mib or time.monotonic() - looked >= LOOK_S:
            memory_mib.append(memory.mib())
            looked = time.monotonic()
            progress(min(1.0, passed / seconds))
    return Run(tuple(taken), passed, (*memory_mib, memory.mib()), memory.of)


def at_first_and_last(memory: Sequence[float]) -> tuple[float, float]:
    """The medians of the first and of the last tenth."""
    tenth = max(1, len(memory) // 10)
    return float(np.median(memory[:tenth])), float(np.median(memory[-tenth:]))


def _ms(taken: float) -> str:
    """A GPU takes less than a millisecond for some models."""
    return f"{taken:.0f} ms" if taken >= 100 else f"{taken:.2f} ms"


def speed(found: Run) -> Iterator[Check]:
    p50, p95, p99 = np.percentile(found.taken_ms, (50, 95, 99))
    yield judged(
        "Engine alone",
        bool(p95 <= READING_MS),
        f"median {_ms(p50)}, 95 % {_ms(p95)}, 99 % {_ms(p99)}, slowest {_ms(max(found.taken_ms))} of"
        f" {len(found.taken_ms)} volumes",
        f"95 % of volumes within {READING_MS:.0f} ms",
        "end what else the machine works on, use a smaller model, or a GPU",
    )
    a_minute = len(found.taken_ms) / found.seconds * 60
    yield judged(
        "Throughput",
        a_minute >= VOLUMES_A_MINUTE,
        f"{a_minute:.0f} volumes a minute over {found.seconds:.0f} s",
        f"at least {VOLUMES_A_MINUTE:.0f} a minute",
        "end what else the machine works on, use a smaller model, or a GPU",
    )
    first, last = at_first_and_last(found.memory_mib)
    yield judged(
        "Memory stays flat",
        last - first <= GROWTH_MB,
        f"{first:.0f} MiB at first, {last:.0f} MiB at last, over {len(found.taken_ms)} volumes,"
        f" {found.memory_of}",
        f"no more than {GROWTH_MB:.0f} MiB of growth",
        "report it with this file: an engine that grows ends the service in the end",
    )
