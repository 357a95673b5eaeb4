"""The intake desk: what becomes of each file, until it is a slice, none of ours, or bad for good."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from appliance import logs
from appliance.imaging.isolation import SlicePool, WorkerLost
from appliance.imaging.slices import NotDicom, Unreadable
from appliance.intake import folder
from appliance.intake.parsing import Parse, Parsed, ParseQueue
from appliance.intake.watch import FilesSeen
from appliance.reasons import Reason
from appliance.records import Arrival, Problem, Slice, SlicePlan


@dataclass(frozen=True, slots=True, eq=False)
class SliceTaken:
    """A whole file that belongs to a series. `old`: it lay in the folder before the installation, and only
    its header was read."""

    slice: Slice
    seen_at: float
    old: bool


@dataclass(frozen=True, slots=True)
class FilePassed:
    """A file that is none of ours."""

    arrival: Arrival


@dataclass(frozen=True, slots=True)
class FileLost:
    """A file whose worker was lost while reading it; it is tried again."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class _Bad:
    arrival: Arrival
    problem: Problem
    since: float


class IntakeDesk:
    """Owned by the main loop."""

    def __init__(
        self,
        pool: SlicePool,
        workers: int,
        plan: SlicePlan,
        post: Callable[[Parsed], None],
        *,
        tries: int,
        old_before_ns: float | None,
    ) -> None:
        """`old_before_ns`: files that lay there, modified before that, are left alone."""
        self._parsing = ParseQueue(pool, 2 * workers, post)
        self._plan = plan
        self._headers_only = replace(plan, pixels=False)
        self._tries = tries
        self._old_before_ns = old_before_ns
        self._bad: dict[Path, _Bad] = {}
        self._lost: dict[Path, Problem] = {}

    def __len__(self) -> int:
        """The files that are on their way."""
        return len(self._parsing)

    def oldest(self) -> float | None:
        """When the file that waits longest was seen."""
        return self._parsing.oldest()

    def blocks(self, folders: set[Path], until: float) -> bool:
        """Whether a file of these folders that was seen until then is not read yet."""
        return self._parsing.blocks(folders, until)

    def holds(self, path: Path) -> bool:
        """Whether the file at a path is on its way, or given time to become whole."""
        return path in self._bad or self._parsing.holds(path)

    def seen(self, files: FilesSeen) -> None:
        """Take in new or changed files."""
        for arrival in files.arrivals:
            self._bad.pop(arrival.path, None)
            old = files.lay_there and arrival.identity.mtime_ns < (self._old_before_ns or 0)
            self._parsing.add(Parse(arrival, files.at, self._headers_only if old else self._plan))

    def read_again(self, arrival: Arrival, seen_at: float, *, tries: int = 0) -> None:
        """Read a file although it was read before."""
        self._parsing.add(Parse(arrival, seen_at, self._plan, tries))

    def parsed(self, done: Parsed) -> SliceTaken | FilePassed | FileLost | None:
        """What a worker made of a file; None while there is nothing to do but wait."""
        if not self._parsing.settle(done):
            return None
        parse, result = done.parse, done.result
        match result:
            case Slice():
                return self._slice(parse, result)
            case NotDicom():
                return FilePassed(parse.arrival)
            case WorkerLost():
                return self._worker_lost(parse, result.problem)
            case FileNotFoundError():
                logs.event("file_vanished")
            case Unreadable():
                self._put_aside(parse, result.problem)
            case OSError():
                self._put_aside(parse, folder.unreadable(result))
            case _:
                logs.crash("reading_a_file_failed", result)
                self._put_aside(
                    parse,
                    Problem(
                        Reason.INTERNAL_ERROR,
                        "Reading the file failed inside Scanlight: report it, with the log.",
                    ),
                )
        return None

    def overdue(self, now: float, after_s: float) -> list[tuple[Arrival, Problem]]:
        """The bad files that did not change for so long; from now on they are bad for good."""
        due = [bad for bad in self._bad.values() if now - bad.since >= after_s]
        for bad in due:
            del self._bad[bad.arrival.path]
        return [(bad.arrival, bad.problem) for bad in due]

    def _put_aside(self, parse: Parse, problem: Problem) -> None:
        """The file may not be whole yet."""
        self._bad[parse.arrival.path] = _Bad(parse.arrival, problem, parse.seen_at)

    def _slice(self, parse: Parse, one: Slice) -> SliceTaken | None:
        current = folder.arrival(parse.arrival.path)
        if current is None:
            logs.event("file_vanished")
            return None
        if current.identity != one.arrival.identity:
            self.read_again(current, time.monotonic())
            return None
        lost = self._lost.pop(current.path, None)
        if lost is not None:
            return SliceTaken(replace(one, problem=lost), parse.seen_at, old=False)
        return SliceTaken(one, parse.seen_at, old=not parse.plan.pixels)

    def _worker_lost(self, parse: Parse, problem: Problem) -> FileLost:
        """Try again behind everything that is new; in the end read the header alone, to name the series."""
        path = parse.arrival.path
        logs.event("worker_lost", logging.WARNING, reason=problem.reason, tries=parse.tries + 1)
        if parse.tries + 1 < self._tries:
            self._parsing.add(replace(parse, tries=parse.tries + 1))
        elif path not in self._lost:
            self._lost[path] = problem
            self._parsing.add(replace(parse, plan=self._headers_only, tries=self._tries))
        else:
            self._put_aside(parse, self._lost.pop(path))
        return FileLost(problem.reason)
