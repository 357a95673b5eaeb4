"""What a daemon holds while it runs, and whether that grows."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

GIVE_BACK: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "32768",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
"""With these in its environment a process gives back at once what it frees (mallopt(3)): what is resident is
then what is held."""

FEWEST: Final = 5
"""So many samples are needed for a slope."""

WARM_UP: Final = 0.2
"""This share of the studies is left out of it: libraries load and caches fill."""

MOST_SAMPLES: Final = 1000
"""So many are enough; the pairs of all samples of a week are too many."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Vitals:
    """Of the process itself, of the worker processes with their server, and the journal with its log."""

    memory_kb: int
    worker_memory_kb: int
    descriptors: int
    threads: int
    processes: int
    journal_kb: int

    @classmethod
    def of(cls, pid: int, journal: Path) -> Vitals:
        """Raises OSError when the process has ended."""
        process = Path("/proc", str(pid))
        workers = _descendants(process)
        return cls(
            memory_kb=_resident_kb(process),
            worker_memory_kb=sum(map(_resident_kb, workers)),
            descriptors=_count(process / "fd"),
            threads=_count(process / "task"),
            processes=len(workers),
            journal_kb=sum(path.stat().st_size for path in journal.parent.glob(f"{journal.name}*")) // 1024,
        )


@dataclass(frozen=True, slots=True)
class Growth:
    """Medians of the first and the last tenth of the samples after warming up, and the slope of Theil and Sen
    (the median over all pairs of samples), which no peak can bend; `in_all` is what it adds up to."""

    first: float
    last: float
    per_100_studies: float
    in_all: float


def growth(samples: Sequence[tuple[int, Vitals]]) -> dict[str, Growth]:
    """How each of the vitals grows with the studies told of; empty where these are too few to say."""
    told = samples[-1][0] if samples else 0
    kept = [(studies, vitals) for studies, vitals in samples if studies >= WARM_UP * told]
    if len(kept) < FEWEST:
        return {}
    kept = kept[:: math.ceil(len(kept) / MOST_SAMPLES)]
    tenth = math.ceil(len(kept) / 10)
    grown = {}
    for field in fields(Vitals):
        points = np.array([(studies, getattr(vitals, field.name)) for studies, vitals in kept], float)
        first, last = np.median(points[:tenth, 1]), np.median(points[-tenth:, 1])
        slope = _slope(points)
        in_all = slope * float(points[-1, 0] - points[0, 0])
        grown[field.name] = Growth(float(first), float(last), round(100 * slope, 3), round(in_all, 3))
    return grown


def _slope(points: Float64) -> float:
    earlier, later = np.triu_indices(len(points), 1)
    studies, values = (points[later] - points[earlier]).T
    return float(np.median(values[studies > 0] / studies[studies > 0]))


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def _resident_kb(process: Path) -> int:
    pages = int((process / "statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def _descendants(process: Path) -> list[Path]:
    """The processes that it started, and those that these started."""
    found = []
    for task in (process / "task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            found += [Path("/proc", child), *_descendants(Path("/proc", child))]
    return found
