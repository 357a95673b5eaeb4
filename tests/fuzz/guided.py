"""Fuzzing in one process, led by coverage."""

from __future__ import annotations

import hashlib
import random
import resource
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import atheris

with atheris.instrument_imports(include=["appliance.imaging", "pydicom"]):
    from fuzz.target import Target

from fuzz import seeds
from fuzz.mutations import another_value, other_pixels

HANG_S = 5
MEMORY_MB = 1024
LARGEST = 16384


def run(corpus: Path, findings: Path, seconds: int) -> NoReturn:
    """Ends the process: with 0, or with the first finding, whose file it keeps and names."""
    seeds.write(corpus)
    target = Target(Path(tempfile.mkdtemp()))
    confine()

    def fuzz(data: bytes) -> None:
        try:
            target.read(data)
        except Exception:
            # libFuzzer keeps what crashes and hangs, and not always what raises.
            (findings / f"raised-{hashlib.sha256(data).hexdigest()[:16]}.dcm").write_bytes(data)
            raise

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        mutation = rng.choice((another_value, other_pixels, None))
        return mutation(data, rng)[:most] if mutation else bytes(atheris.Mutate(data, most))

    words = [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={seconds}",
        f"-timeout={HANG_S}",
        f"-max_len={LARGEST}",
        f"-artifact_prefix={findings}/",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup(words, fuzz, custom_mutator=mutate)
    atheris.Fuzz()
    raise AssertionError("atheris ends the process")


def confine() -> None:
    """As a worker is: so much memory beyond what it has when idle."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (MEMORY_MB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
