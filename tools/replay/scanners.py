"""Simulated scanners, a thread each: studies under new UIDs, at a pace, into one export folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from tools.replay.ledger import Exported
from tools.replay.restamp import fresh_uid
from tools.replay.studies import Series, Study
from tools.scanner import export

FILES_PER_S: Final = 20.0
"""So many slices a second come out of a scanner's reconstruction."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast each scanner works: studies an hour of a day that passes `speed` times as fast."""

    studies_per_hour: float
    speed: float

    @property
    def study_s(self) -> float:
        return 3600 / self.studies_per_hour / self.speed

    @property
    def files_per_s(self) -> float:
        return FILES_PER_S * self.speed


class Worklist:
    """What there is to scan, shared by all scanners: so many studies, until a moment (monotonic), at most
    `room` of them on their way; None: no limit. With `rest_every` studies all scanners pause until everything
    is told of."""

    def __init__(
        self, total: int | None, ends_at: float | None, room: int | None, rest_every: int | None = None
    ) -> None:
        self._total = total
        self._ends_at = ends_at
        self._room = room
        self._rest_every = rest_every
        self._taken = 0
        self._told = 0
        self._changed = threading.Condition()
        self.stopped = False

    def next(self) -> int | None:
        """The number of the next study, from 1, once there is room for it; None when the day is over."""
        with self._changed:
            while not self._over() and self._must_wait():
                self._changed.wait(self._left_s())
            if self._over():
                return None
            self._taken += 1
            return self._taken

    @property
    def taken(self) -> int:
        """So many studies have been begun."""
        return self._taken

    def told(self, studies: int) -> None:
        """So many studies have been told of."""
        with self._changed:
            self._told = studies
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Let so much time pass, unless the day ends before."""
        with self._changed:
            self._changed.wait_for(self._over, max(0.0, seconds))

    def _must_wait(self) -> bool:
        on_the_way = self._taken - self._told
        if self._rest_every is not None and on_the_way and self._taken % self._rest_every == 0:
            return True
        return self._room is not None and on_the_way >= self._room

    def _over(self) -> bool:
        left = self._left_s()
        all_taken = self._total is not None and self._taken >= self._total
        return self.stopped or all_taken or (left is not None and left <= 0)

    def _left_s(self) -> float | None:
        return None if self._ends_at is None else self._ends_at - time.monotonic()


@dataclass(frozen=True, slots=True)
class Out:
    """A study that a scanner has exported whole."""

    folder: Path
    series: tuple[Exported, ...]


@dataclass(frozen=True, slots=True)
class Scanner:
    """Takes what the worklist says: the studies in their order, and then the same again under new UIDs.

    `post` gets each study that is out, or what ended the scanner. Without a pace it is as fast as the disk.
    """

    name: str
    studies: Sequence[Study]
    worklist: Worklist
    pace: Pace | None
    root: Path
    post: Callable[[Out | OSError], None]

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while (number := self.worklist.next()) is not None:
                self.post(self._scan(number))
                if self.pace is not None:
                    due += self.pace.study_s
                    self.worklist.wait(due - time.monotonic())
        except OSError as error:
            self.post(error)

    def _scan(self, number: int) -> Out:
        study = self.studies[(number - 1) % len(self.studies)]
        folder = self.root / self.name / f"study{number:06d}"
        fresh = lru_cache(maxsize=None)(partial(fresh_uid, salt=f"{self.name}/{number}"))
        series = (
            self._export(number, one, folder / f"series{place}", fresh) for place, one in enumerate(study, 1)
        )
        return Out(folder, tuple(series))

    def _export(self, number: int, series: Series, folder: Path, fresh: Callable[[bytes], bytes]) -> Exported:
        whole = (file.stamped(fresh) for file in series.files)
        contents = (
            content[: len(content) // 2] if index in series.cut else content
            for index, content in enumerate(whole)
        )
        files = sum(1 for _ in export(contents, folder, self.pace.files_per_s if self.pace else None))
        uid = fresh(series.series_uid.encode()).decode()
        return Exported(number, uid, series.name, files, time.time())
