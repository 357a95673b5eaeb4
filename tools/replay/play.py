"""One replay: the scanners work, the folder is kept tidy, the results are entered into the ledger."""

from __future__ import annotations

import queue
import secrets
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.own_daemon import NewResults
from tools.replay.ledger import Ledger
from tools.replay.scanners import Out, Pace, Scanner, Worklist
from tools.replay.studies import Study

ON_THE_WAY: Final = 8
"""Without a pace, a scanner begins the next study when fewer than so many for each are on their way."""

REST_EVERY: Final = 10
"""And after so many they pause until all are told of: then it shows what the daemon keeps for good."""

TURN_S: Final = 0.05
SILENCE_S: Final = 90.0
"""What has not been told of when nothing new came for so long is lost."""


class ReplayFailed(Exception):
    """The replay cannot go on; one sentence."""


@dataclass(frozen=True, slots=True)
class Day:
    """What the scanners do: so many studies, or for so many seconds; None: no limit. Of what they exported,
    the newest `keep` studies stay in the folder."""

    studies: Sequence[Study]
    scanners: int
    pace: Pace | None
    total: int | None
    seconds: float | None
    keep: int


def play(
    day: Day,
    root: Path,
    results: NewResults | None,
    turned: Callable[[Ledger], None],
    rested: Callable[[Ledger], None] = lambda _: None,
) -> Ledger:
    """Export into `root` until the day is over, and wait for the results, where they can be seen.

    `turned` is called again and again meanwhile, `rested` when all that was begun has been told of; scanners
    that pause go on when it returns. The first Ctrl-C ends the day, the second everything.

    Raises ReplayFailed.
    """
    player = _Player(day, root, results, rested)
    try:
        while True:
            try:
                over = player.turn()
                turned(player.ledger)
                if over:
                    return player.ledger
                time.sleep(TURN_S)
            except KeyboardInterrupt:
                if player.worklist.stopped:
                    raise
                player.worklist.stop()
    finally:
        player.stop()


class _Player:
    def __init__(
        self, day: Day, root: Path, results: NewResults | None, rested: Callable[[Ledger], None]
    ) -> None:
        self._rested = rested
        self._rested_at = 0
        self._keep = day.keep
        self._results = results
        self._came: queue.SimpleQueue[Out | OSError] = queue.SimpleQueue()
        self._folders: deque[tuple[int, Path]] = deque()
        self._news_at = time.monotonic()
        self.ledger = Ledger()
        self._closed_loop = closed_loop = day.pace is None and results is not None
        self.worklist = Worklist(
            day.total,
            None if day.seconds is None else time.monotonic() + day.seconds,
            ON_THE_WAY * day.scanners if closed_loop else None,
            REST_EVERY if closed_loop else None,
        )
        run = secrets.token_hex(4)
        self._scanning = [
            Scanner(
                f"replay-{run}-{number}", day.studies, self.worklist, day.pace, root, self._came.put
            ).start()
            for number in range(1, day.scanners + 1)
        ]

    def stop(self) -> None:
        """Returns when nobody writes into the folder any more."""
        self.worklist.stop()
        for thread in self._scanning:
            thread.join()

    def turn(self) -> bool:
        """Take in what happened; True when nothing more will."""
        scanning = any(thread.is_alive() for thread in self._scanning)
        while not self._came.empty():
            self._take(self._came.get())
        for record, at in self._results() if self._results is not None else ():
            self.ledger.told(record, at)
            self._news_at = time.monotonic()
        self._tidy()
        told = self.ledger.told_studies
        if self._rested_at < told == self.worklist.taken:
            self._rested_at = told
            self._rested(self.ledger)
        self.worklist.told(told)
        waiting = self._results is not None and told < self.ledger.studies
        silent = time.monotonic() - self._news_at > SILENCE_S
        if waiting and silent and self._closed_loop:
            # The scanners wait for what is lost.
            self.worklist.stop()
        return not scanning and (silent or not waiting)

    def _take(self, came: Out | OSError) -> None:
        if isinstance(came, OSError):
            raise ReplayFailed(f"A scanner cannot write ({came.strerror}): check the folder and its disk.")
        self.ledger.exported(came.series)
        self._folders.append((came.series[0].study, came.folder))
        self._news_at = time.monotonic()

    def _tidy(self) -> None:
        """As an exporter's housekeeping does: the oldest go, here only once they have been told of."""
        while len(self._folders) > self._keep:
            study, folder = self._folders[0]
            if self._results is not None and self.ledger.waits_for(study):
                return
            self._folders.popleft()
            shutil.rmtree(folder, ignore_errors=True)
