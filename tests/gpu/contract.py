"""What the GPU's runner is held to.

`python contract.py BUNDLE VOLUMES.npy SEEN.npz [CACHE]` reads the volumes in a process of its own, and
`broken` says of what it saw which promises were not kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shim

from engines.protocol import EngineError, Score
from engines.runner import open_engine

STEPS = {"host_to_device", "execute", "device_to_host", "prepare", "compute", "finish"}
HELD = ("contexts", "streams", "events", "device", "host")


@dataclass(frozen=True)
class Seen:
    """`heatmaps` are [number of volumes, d, h, w]; `failed` and `closed_by` an exception's type and sentence;
    `counts` the driver's by when they were taken, empty with a real one; `said` what is on standard error."""

    failed: str
    closed_by: str = ""
    probabilities: list[float] = field(default_factory=list)
    heatmaps: np.ndarray = field(default_factory=lambda: np.array([]))
    timings_ms: list[dict[str, float]] = field(default_factory=list)
    identity: dict[str, str] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    misuse: list[str] = field(default_factory=list)
    exit_code: int = 0
    said: str = ""

    @classmethod
    def read(cls, file: Path, exit_code: int, said: str) -> Seen:
        """What the process wrote, which is nothing where it crashed."""
        if not file.exists():
            return cls(f"the process ended with {exit_code}", exit_code=exit_code, said=said)
        with np.load(file) as stored:
            told = json.loads(str(stored["told"])) | {"exit_code": exit_code, "said": said}
            return cls(heatmaps=stored["heatmaps"], **told)

    def write(self, file: Path) -> None:
        told = {name: value for name, value in vars(self).items() if name != "heatmaps"}
        np.savez(file, heatmaps=self.heatmaps, told=json.dumps(told))


Observe = Callable[..., Seen]
"""The fixture that reads volumes in a process of its own."""


def broken(seen: Seen, expected: Sequence[Score]) -> list[str]:
    """The promises that were not kept, none for a good runner."""
    found = [f"it failed: {seen.failed}"] if seen.failed else []
    if seen.closed_by:
        found.append(f"closing failed: {seen.closed_by}")
    for number, (got, wanted) in enumerate(zip(seen.probabilities, expected, strict=False)):
        if not abs(got - wanted.probability) <= 1e-5:
            found.append(f"volume {number} has the probability {got} instead of {wanted.probability}")
        if wanted.heatmap is not None and not np.allclose(seen.heatmaps[number], wanted.heatmap, atol=1e-4):
            found.append(f"volume {number} has another heatmap")
    if len(seen.probabilities) != len(expected) and not seen.failed:
        found.append("some volumes were not read")
    found += [f"no time of {step}" for times in seen.timings_ms for step in STEPS - times.keys()]
    found += [f"the process ended with {seen.exit_code}"] if seen.exit_code else []
    return found + _broken_with_driver(seen.counts) + seen.misuse


def _broken_with_driver(counts: dict[str, dict[str, int]]) -> list[str]:
    if not counts:
        return []
    found = []
    end = counts["closed"]
    found += [f"{end[what]} {what} are left" for what in (*HELD, "leaked") if end[what]]
    found += [f"{end['refused']} calls were refused"] if end["refused"] else []
    found += [f"{end[what]} times {what}" for what in ("default stream", "pageable") if end[what]]
    for when, count in counts.items():
        if when != "closed" and count["pushed"]:
            found.append(f"a context is current after {when}")
    if "last" in counts and any(counts["last"][what] > counts["first"][what] for what in HELD):
        found.append("it holds more after the last volume than after the first")
    return found


def observe(bundle: Path, volumes: np.ndarray, cache: Path | None) -> Seen:
    """Open the bundle on the GPU, read the volumes [number, D, H, W] and the first again, offer bad ones."""
    counts: dict[str, dict[str, int]] = {}
    probabilities, heatmaps, timings, refusals = [], [], [], []
    identity: dict[str, str] = {}
    failed = closed_by = ""
    engine = None
    try:
        engine = open_engine(bundle, "tensorrt", cache=cache)
        identity = {"runner": engine.identity.runner, "flavour": engine.identity.flavour}
        identity["device"] = engine.identity.device
        _count(counts, "opening")
        for number, volume in enumerate([*volumes, volumes[0]]):
            score = engine.infer(volume)
            probabilities.append(score.probability)
            heatmaps.append(score.heatmap)
            timings.append(dict(score.timings_ms))
            _count(counts, "last" if number else "first")
            if number == 0:
                refusals = [_refusal(engine, bad) for bad in _bad(volume)]
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
    if engine is not None:
        try:
            engine.close()
            engine.close()
        except Exception as error:
            closed_by = f"{type(error).__name__}: {error}"
    _count(counts, "closed")
    return Seen(
        failed, closed_by, probabilities, np.array(heatmaps), timings, identity, refusals, counts, _misuse()
    )


def _bad(volume: np.ndarray) -> list[np.ndarray]:
    with_nan = volume.copy()
    with_nan[0, 0, 0] = np.nan
    return [with_nan, volume[:-1], volume.astype(np.float64)]


def _refusal(engine: Any, volume: np.ndarray) -> str:
    try:
        engine.infer(volume)
    except EngineError as error:
        return str(error)
    return ""


def _count(counts: dict[str, dict[str, int]], when: str) -> None:
    try:
        counts[when] = shim.counts()
    except AttributeError:  # a driver that does not count
        return


def _misuse() -> list[str]:
    double = sys.modules.get("tensorrt_double")
    return list(double.MISUSE) if double else []


def main() -> None:
    bundle, volumes, out, *cache = map(Path, sys.argv[1:])
    observe(bundle, np.load(volumes), cache[0] if cache else None).write(out)


if __name__ == "__main__":
    main()
