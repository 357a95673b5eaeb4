"""Files on their way through the worker processes.

What arrives now is read in its order, before what lay there already, newest first, and that before second
tries and what needs no reading. Each of them gets a share, so that none waits for ever.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from appliance.imaging.isolation import SlicePool
from appliance.intake.newest_first import NewestFirst
from appliance.records import Arrival, Slice, SlicePlan


@dataclass(frozen=True, slots=True)
class Parse:
    """A file to read. `seen_at` is when it was told of, `tries` how often its worker was lost.

    `lay_there`: before this process. `old`: before the installation, so that only its header is read.
    """

    arrival: Arrival
    seen_at: float
    plan: SlicePlan
    tries: int = 0
    lay_there: bool = False
    old: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """What became of a file: its slice, or the exception that `read_slice` or its worker ended with."""

    parse: Parse
    result: Slice | BaseException


class ParseQueue:
    """Owned by the main loop. Only a few files are handed to the pool at a time, so that order can change."""

    def __init__(self, pool: SlicePool, limit: int, post: Callable[[Parsed], None]) -> None:
        self._pool = pool
        self._limit = limit
        self._post = post
        self._now: deque[Parse] = deque()
        self._before: NewestFirst[Parse] = NewestFirst()
        self._later: deque[Parse] = deque()
        self._turn = count(1)
        self._running = 0
        self._open: dict[Path, dict[Path, Parse]] = {}

    def __len__(self) -> int:
        return self._running + len(self._now) + len(self._before) + len(self._later)

    def add(self, parse: Parse) -> None:
        """Read a file, or read it again because it changed: then only the newer reading counts."""
        path = parse.arrival.path
        folder = self._open.setdefault(path.parent, {})
        folder.pop(path, None)
        folder[path] = parse
        if parse.tries or parse.old:
            self._later.append(parse)
        elif parse.lay_there:
            self._before.put(parse.arrival.identity.mtime_ns, parse)
        else:
            self._now.append(parse)
        self._fill()

    def settle(self, parsed: Parsed) -> bool:
        """A result came to the main loop. False: the file changed since and a newer reading is under way."""
        self._running -= 1
        self._fill()
        path = parsed.parse.arrival.path
        folder = self._open.get(path.parent, {})
        if folder.get(path) is not parsed.parse:
            return False
        del folder[path]
        if not folder:
            del self._open[path.parent]
        return True

    def holds(self, path: Path) -> bool:
        """Whether the file at a path is on its way."""
        return path in self._open.get(path.parent, {})

    def blocks(self, folders: set[Path], until: float) -> bool:
        """Whether a file of these folders that was seen until then had no try yet.

        A series that its exporter spreads over several folders may have files in any beside them. Of those
        only what arrives now is waited for: what lay there may be years of it.
        """
        waiting = (*self._own(folders), *self._beside(folders))
        return any(one.seen_at <= until and not one.tries for one in waiting)

    def retries(self, folders: set[Path], until: float) -> bool:
        """Whether a file of these folders that was seen until then cost its worker and is tried again."""
        return any(one.seen_at <= until and one.tries > 0 for one in self._own(folders))

    def _own(self, folders: set[Path]) -> Iterator[Parse]:
        for folder in folders:
            yield from self._open.get(folder, {}).values()

    def _beside(self, folders: set[Path]) -> Iterator[Parse]:
        if len(folders) > 1:
            above = Path(os.path.commonpath(folders))
            for folder, waiting in self._open.items():
                if folder.is_relative_to(above):
                    yield from (one for one in waiting.values() if not (one.lay_there or one.old))

    def oldest(self) -> float | None:
        """When the file that waits longest was seen."""
        return min((next(iter(waiting.values())).seen_at for waiting in self._open.values()), default=None)

    def _fill(self) -> None:
        while self._running < self._limit:
            parse = self._next()
            if parse is None:
                return
            folder = self._open.get(parse.arrival.path.parent, {})
            if folder.get(parse.arrival.path) is not parse:
                continue
            self._running += 1
            future = self._pool.submit(parse.arrival.path, parse.plan)
            future.add_done_callback(partial(self._done, parse))

    def _next(self) -> Parse | None:
        turn = next(self._turn)
        if self._later and (turn % 16 == 0 or not (self._now or self._before)):
            return self._later.popleft()
        if self._before and (turn % 4 == 0 or not self._now):
            return self._before.pop()
        return self._now.popleft() if self._now else None

    def _done(self, parse: Parse, future: Future[Slice]) -> None:
        if not future.cancelled():
            self._post(Parsed(parse, future.exception() or future.result()))
