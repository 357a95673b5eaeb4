"""The command line of an appliance whose engine, decoders and writes do what files in $RIGGED say.

`opening`: the engine opens when this is gone.
`nan`: the next engine call gives no number.
`bias`: this is added to every probability.
`slow`: so many seconds are added to every reading.
`hang`: the reading of a flagged series never ends.
`poison`: pixels of files that are named so get the poison of that name.
`direct`: files are read around the page cache first, where a share that hangs holds the worker for good.
`pause`: the call of that name (and, after a blank, number) makes a file `paused` and waits for `pause` to go.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from poison import POISONS, read_around_the_cache

from appliance import cli, daemon, durable
from appliance.commands import run
from appliance.delivery import results_folder
from appliance.findings.objects import ObjectStore
from appliance.imaging.isolation import SlicePool
from appliance.journal import Journal
from appliance.known_answers import KnownAnswers
from appliance.records import Slice, SlicePlan
from engines.protocol import Engine, Float32, Score
from engines.runner import open_engine
from engines.tensors import probability

WRITES: dict[str, tuple[Any, str]] = {
    **{
        name: (Journal, name)
        for name in (
            "set_meta",
            "add_files",
            "series",
            "reopen",
            "set_provisional",
            "charge_try",
            "settle_try",
            "end",
            "confirm",
            "try_again",
            "settle_delivery",
        )
    },
    "put": (ObjectStore, "put"),
    "keep": (durable, "write"),
    "deliver": (results_folder, "deliver"),
}
"""What can be paused before it begins."""


class Rigged:
    """What the files say."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = 0

    def text(self, name: str) -> str | None:
        with contextlib.suppress(FileNotFoundError):
            return (self._folder / name).read_text()
        return None

    def used_up(self, name: str) -> bool:
        """Whether there is such a file; there is none afterwards."""
        with contextlib.suppress(FileNotFoundError):
            (self._folder / name).unlink()
            return True
        return False

    def pausing(self, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(write)
        def paused(*args: Any, **kwargs: Any) -> Any:
            wanted, _, number = (self.text("pause") or "").partition(" ")
            if wanted == name:
                self._calls += 1
                if self._calls == int(number or 1):
                    (self._folder / "paused").touch()
                    while self.text("pause") is not None:
                        time.sleep(0.01)
                    self._calls = 0
            return write(*args, **kwargs)

        return paused

    def engine(self, real: Engine) -> RiggedEngine:
        return RiggedEngine(real, self)

    def pool(self, *args: Any) -> RiggedPool:
        return RiggedPool(self, *args)


class RiggedEngine:
    """The real engine, but for what the files say. Known answers neither hang nor are slow."""

    checking = False

    def __init__(self, real: Engine, rigged: Rigged) -> None:
        self._real = real
        self._rigged = rigged

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def infer(self, volume: Float32) -> Score:
        if self._rigged.used_up("nan"):
            probability(np.full((1, 1), np.nan, np.float32), self._real.spec)
        score = self._real.infer(volume)
        if not RiggedEngine.checking:
            time.sleep(float(self._rigged.text("slow") or 0))
            if self._rigged.text("hang") is not None and score.probability >= self._real.spec.operating_point:
                threading.Event().wait()
        biased = min(1.0, max(0.0, score.probability + float(self._rigged.text("bias") or 0)))
        return Score(biased, score.heatmap, score.timings_ms)


class RiggedPool(SlicePool):
    """Reads slices, but for what is poisoned."""

    def __init__(self, rigged: Rigged, *args: Any) -> None:
        super().__init__(*args)
        self._rigged = rigged

    def submit(self, path: Path, plan: SlicePlan) -> Future[Slice]:
        poison = POISONS.get(path.name.partition("-")[0])
        if poison is not None and plan.pixels and self._rigged.text("poison") is not None:
            return self.call(poison)  # type: ignore[arg-type]
        if plan.pixels and self._rigged.text("direct") is not None:
            return self.call(read_around_the_cache, path, plan)
        return super().submit(path, plan)


def rig(rigged: Rigged) -> None:
    def opened(*args: Any, **settings: Any) -> RiggedEngine:
        while rigged.text("opening") is not None:
            time.sleep(0.05)
        return rigged.engine(open_engine(*args, **settings))

    run.open_engine = opened  # type: ignore[attr-defined]
    daemon.SlicePool = rigged.pool  # type: ignore[attr-defined, assignment, misc]
    for name, (owner, attribute) in WRITES.items():
        setattr(owner, attribute, rigged.pausing(name, getattr(owner, attribute)))
    compute = KnownAnswers.compute

    def checking(answers: KnownAnswers) -> Any:
        RiggedEngine.checking = True
        try:
            return compute(answers)
        finally:
            RiggedEngine.checking = False

    KnownAnswers.compute = checking  # type: ignore[method-assign]


def main() -> None:
    rig(Rigged(Path(os.environ["RIGGED"])))
    cli.main()
