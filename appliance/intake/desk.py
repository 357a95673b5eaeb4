"""The intake desk: what becomes of each file, until it is a slice, none of ours, or bad for good."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from appliance import logs
from appliance.imaging.isolation import SlicePool, WorkerLost
from appliance.imaging.slices import ChangedMeanwhile, NotDicom, Unreadable
from appliance.intake import folder
from appliance.intake.installation import Installation
from appliance.intake.parsing import Parse, Parsed, ParseQueue
from appliance.intake.watch import FilesSeen
from appliance.reasons import Reason
from appliance.records import Arrival, Problem, Slice, SlicePlan


@dataclass(frozen=True, slots=True, eq=False)
class SliceTaken:
    """A whole file that belongs to a series. `old`: of before the installation, its header alone was read."""

    slice: Slice
    seen_at: float
    old: bool


@dataclass(frozen=True, slots=True)
class FilePassed:
    """A file that is none of ours."""

    arrival: Arrival


@dataclass(frozen=True, slots=True)
class FileLeft:
    """A file from before the installation that names no series."""

    arrival: Arrival


@dataclass(frozen=True, slots=True)
class FileGone:
    """A file that was told of is not there any more."""

    arrival: Arrival


@dataclass(frozen=True, slots=True)
class FileLost:
    """A file whose worker was lost while reading it; it is tried again."""

    reason: Reason


Became = SliceTaken | FilePassed | FileLeft | FileGone | FileLost


@dataclass(frozen=True, slots=True)
class _Bad:
    """`first` is when the file was first seen like that, `since` when it last changed. `again`: what is wrong
    may not be the file, so that it is read once more before it is given up."""

    arrival: Arrival
    problem: Problem
    first: float
    since: float
    again: bool


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
        installation: Installation | None,
    ) -> None:
        """Files that lay there before the `installation` are left alone."""
        self._parsing = ParseQueue(pool, 2 * workers, post)
        self._plan = plan
        self._headers_only = replace(plan, pixels=False)
        self.tries = tries
        self._installation = installation
        self._bad: dict[Path, _Bad] = {}
        self._lost: dict[Path, Problem] = {}

    def __len__(self) -> int:
        """The files that are on their way."""
        return len(self._parsing)

    def oldest(self) -> float | None:
        """When the file that is on its way longest, or given time to become whole, was seen."""
        bad = min((bad.first for bad in self._bad.values()), default=None)
        return min((at for at in (bad, self._parsing.oldest()) if at is not None), default=None)

    def blocks(self, folders: set[Path], until: float) -> bool:
        """Whether a file of these folders that was seen until then is not read yet, nor was tried."""
        return self._parsing.blocks(folders, until)

    def awaits(self, folders: set[Path], until: float) -> bool:
        """Whether a file of these folders that was seen until then is given time to become whole, or another
        try: a flag does not wait for it."""
        bad = any(bad.first <= until and path.parent in folders for path, bad in self._bad.items())
        return bad or self._parsing.retries(folders, until)

    def holds(self, path: Path) -> bool:
        """Whether the file at a path is on its way, or given time to become whole."""
        return path in self._bad or self._parsing.holds(path)

    def seen(self, files: FilesSeen) -> list[Arrival]:
        """Take in new or changed files; returns those from before the installation, which are not."""
        old = []
        for arrival in files.arrivals:
            if self.is_old(arrival, lay_there=files.lay_there):
                old.append(arrival)
            else:
                self._parsing.add(Parse(arrival, files.at, self._plan, lay_there=files.lay_there))
        return old

    def is_old(self, arrival: Arrival, *, lay_there: bool) -> bool:
        """Whether something was there before the installation."""
        return lay_there and self._installation is not None and not self._installation.came_after(arrival)

    def read_header(self, arrival: Arrival) -> None:
        """Name the series of a file from before the installation, behind everything else."""
        self._parsing.add(Parse(arrival, time.monotonic(), self._headers_only, old=True))

    def read_again(self, arrival: Arrival, seen_at: float, *, tries: int = 0) -> None:
        """Read a file although it was read before."""
        self._parsing.add(Parse(arrival, seen_at, self._plan, tries))

    def parsed(self, done: Parsed) -> Became | None:  # noqa: PLR0911
        """What a worker made of a file; None while there is nothing to do but wait."""
        if not self._parsing.settle(done):
            return None
        parse, result = done.parse, done.result
        bad = self._bad.pop(parse.arrival.path, None)
        if parse.old and not isinstance(result, Slice | NotDicom):
            return FileLeft(parse.arrival)
        match result:
            case Slice():
                return self._slice(parse, result)
            case NotDicom():
                return FilePassed(parse.arrival)
            case WorkerLost():
                return self._worker_lost(parse, result.problem)
            case FileNotFoundError():
                logs.event("file_vanished")
                return FileGone(parse.arrival)
            case ChangedMeanwhile():
                self.read_again(parse.arrival, time.monotonic())
            case Unreadable():
                self._put_aside(parse, result.problem, bad)
            case OSError():
                again = bad is None or bad.again or bad.since != parse.seen_at
                self._put_aside(parse, folder.unreadable(result), bad, again=again)
            case _:
                logs.crash("reading_a_file_failed", result)
                self._put_aside(
                    parse,
                    Problem(
                        Reason.INTERNAL_ERROR,
                        "Reading the file failed inside Scanlight: report it, with the log.",
                    ),
                    bad,
                )
        return None

    def overdue(self, looked_at: float, after_s: float) -> list[tuple[Arrival, Problem]]:
        """The bad files that a look found unchanged for so long; from now on they are bad for good."""
        due = [
            bad
            for path, bad in self._bad.items()
            if looked_at - bad.since >= after_s and not self._parsing.holds(path)
        ]
        for bad in due:
            if bad.again:
                self._bad[bad.arrival.path] = replace(bad, again=False)
                self.read_again(bad.arrival, bad.since)
            else:
                del self._bad[bad.arrival.path]
        return [(bad.arrival, bad.problem) for bad in due if not bad.again]

    def _put_aside(self, parse: Parse, problem: Problem, before: _Bad | None, *, again: bool = False) -> None:
        """The file may not be whole yet."""
        first = before.first if before else parse.seen_at
        self._bad[parse.arrival.path] = _Bad(parse.arrival, problem, first, parse.seen_at, again)

    def _slice(self, parse: Parse, one: Slice) -> Became:
        if parse.old and one.arrival.identity != parse.arrival.identity:
            # Another file by now, of which the watch tells as of any other.
            return FileLeft(parse.arrival)
        lost = self._lost.pop(one.arrival.path, None)
        if lost is not None:
            one = replace(one, problem=lost)
        return SliceTaken(one, parse.seen_at, parse.old)

    def _worker_lost(self, parse: Parse, problem: Problem) -> FileLost:
        """Try again behind everything that is new; in the end read the header alone, to name the series."""
        path = parse.arrival.path
        logs.event("worker_lost", logging.WARNING, reason=problem.reason, tries=parse.tries + 1)
        if parse.tries + 1 < self.tries:
            self._parsing.add(replace(parse, tries=parse.tries + 1))
        elif path not in self._lost:
            self._lost[path] = problem
            self._parsing.add(replace(parse, plan=self._headers_only, tries=self.tries))
        else:
            self._put_aside(parse, self._lost.pop(path), None)
        return FileLost(problem.reason)
