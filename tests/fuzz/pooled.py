"""Fuzzing through the daemon's own worker pool: what a file does to its worker costs that file alone."""

from __future__ import annotations

import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

from fuzz import seeds
from fuzz.mutations import mutated
from fuzz.target import PLAN, Target

from appliance.imaging.isolation import SlicePool, WorkerLost
from appliance.imaging.slices import NotDicom, Unreadable
from appliance.records import Slice

WORKERS = 2
TIMEOUT_S = 5.0
MEMORY_MB = 1024
BATCH = 64


def run(corpus: Path, findings: Path, seconds: float, seed: int) -> int:
    """0, or 1 where files cost a worker its life; those are kept and named."""
    seeds.write(corpus)
    rng = random.Random(seed)
    begin = [path.read_bytes() for path in sorted(corpus.iterdir())]
    became: Counter[str] = Counter()
    found = 0
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as scratch, SlicePool(WORKERS, MEMORY_MB, TIMEOUT_S) as pool:
        target = Target(Path(scratch))
        whole = Path(scratch) / "whole.dcm"
        whole.write_bytes(dict(seeds.seeds())["rich.dcm"])
        pool.warm()
        idle = peak_mb(pool)
        while time.monotonic() < end:
            files = {}
            for number in range(BATCH):
                path = Path(scratch) / f"{number}.dcm"
                path.write_bytes(mutated(rng.choice(begin), rng))
                files[path] = pool.submit(path, PLAN)
            good = pool.submit(whole, PLAN)
            for path, future in files.items():
                try:
                    outcome = judged(future, target)
                except Exception:
                    shutil.copy(path, findings)
                    raise
                became[outcome] += 1
                if outcome.startswith("worker_"):
                    found += 1
                    shutil.copy(path, findings / f"{outcome}-{found}.dcm")
            assert good.result(timeout=60).problem is None, "a good file is read whatever came before"
        grown = peak_mb(pool) - idle
    sys.stdout.write(
        f"{sum(became.values())} files, seed {seed}, {found} findings in {findings}, workers grew by"
        f" {grown:.0f} MB: {dict(became)}\n"
    )
    assert grown < MEMORY_MB
    return 1 if found else 0


def judged(future: Future[Slice], target: Target) -> str:
    """What became of a file; whatever else is raised is a finding."""
    try:
        return target.judge(future.result(timeout=10 * TIMEOUT_S))
    except (NotDicom, Unreadable) as passed:
        return type(passed).__name__
    except WorkerLost as lost:
        return lost.problem.reason


def peak_mb(pool: SlicePool) -> float:
    """What the largest worker held at most."""
    peaks = [pool.call(resource.getrusage, resource.RUSAGE_SELF) for _ in range(8 * WORKERS)]
    return max(peak.result(timeout=60).ru_maxrss for peak in peaks) / 1024
