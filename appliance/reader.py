"""The engine thread: owns the engine for life, reads one series at a time, and runs the known answers."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance import logs
from appliance.faults import reach
from appliance.intake import folder
from appliance.intake.newest_first import NewestFirst
from appliance.known_answers import AnswersWrong, KnownAnswers
from appliance.reading import Reading, Rules, read_series
from appliance.records import Arrival, Slice
from engines.protocol import BadOutput, Engine, EngineError

RECHECK_S = 10.0
"""After failed known answers: nothing is read until they pass again."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A series to be read: its row in the journal, its slices and the files that they came from.

    `number` tells a result from that of an earlier job. With a `reading`, which was made before, only the
    files are looked at once more.
    """

    number: int
    series_id: int
    slices: tuple[Slice, ...]
    files: tuple[Arrival, ...]
    queued_at: float
    rules: Rules
    reading: Reading | None = None

    @property
    def newest_ns(self) -> int:
        """When its newest file was written."""
        return max((one.identity.mtime_ns for one in self.files), default=0)


@dataclass(frozen=True, slots=True, eq=False)
class FilesChanged:
    """Files are not what was parsed, so that the slices are not those in the folder; as they are now."""

    files: tuple[Arrival, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ReadingFinished:
    """`vanished` are the paths of the job at which there is no file any more."""

    job: Job
    result: Reading | EngineError | FilesChanged
    queue_ms: float
    vanished: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineNotOpened:
    """The engine cannot be opened; it is tried again."""

    why: str


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The engine is loaded; its known answers come next."""

    engine: Engine


@dataclass(frozen=True, slots=True)
class AnswersChecked:
    """`wrong` says what differs; None when all known answers came out as expected."""

    at: float
    wrong: str | None


Message = EngineNotOpened | EngineReady | AnswersChecked | ReadingFinished


class Reader(threading.Thread):
    """Reads what is submitted, newest first without starving the old, and tells of it through `post`.

    `charge` writes down that a try of a series begins, in case the process ends inside it.
    """

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        answers: Callable[[Engine], KnownAnswers],
        interval_s: float,
        charge: Callable[[int], None],
        post: Callable[[Message], None],
    ) -> None:
        super().__init__(name="engine", daemon=True)
        self._open_engine = open_engine
        self._answers = answers
        self._interval_s = interval_s
        self._charge = charge
        self._post = post
        self._jobs: NewestFirst[Job] = NewestFirst()
        self._changed = threading.Condition()
        self._stopping = False
        self._passed = False
        self._checked_at = -math.inf
        self._busy_since: float | None = None
        self._opening_since: float | None = None
        self.at_job: int | None = None
        """The number of the job that is being read."""

    def submit(self, job: Job) -> None:
        with self._changed:
            self._jobs.put(job.newest_ns, job)
            self._changed.notify()

    def check_every(self, seconds: float) -> None:
        """The known answers, from the last time on."""
        with self._changed:
            self._interval_s = seconds
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def busy_for(self, now: float) -> float:
        """Seconds that the engine call in progress has taken, 0 where there is none."""
        since = self._busy_since
        return 0.0 if since is None else now - since

    def opening_for(self, now: float) -> float:
        """Seconds that the opening of the engine has taken, 0 where it is open."""
        since = self._opening_since
        return 0.0 if since is None else now - since

    def run(self) -> None:
        engine = self._opened()
        if engine is None:
            return
        reach("engine.opened")
        try:
            self._post(EngineReady(engine))
            self._serve(engine)
        finally:
            engine.close()

    def _opened(self) -> Engine | None:
        """The engine, once it opens: what IT repairs needs no new start. None when all is over before."""
        said = ""
        while not self._stopping:
            self._opening_since = time.monotonic()
            try:
                return self._open_engine()
            except EngineError as error:
                if said != str(error):
                    said = str(error)
                    logs.event("engine_not_opened", logging.ERROR, why=said)
                    self._post(EngineNotOpened(said))
            finally:
                self._opening_since = None
            with self._changed:
                if not self._stopping:
                    self._changed.wait(RECHECK_S)
        return None

    def _serve(self, engine: Engine) -> None:
        answers = self._answers(engine)
        while not self._stopping:
            if time.monotonic() >= self._due():
                self._passed = self._check(answers)
                self._checked_at = time.monotonic()
            job = self._next()
            if job is not None:
                finished = self._read(job, engine)
                self._post(finished)
                if isinstance(finished.result, BadOutput):
                    # No engine may say that: before it reads on, it shows whether it is to be trusted.
                    self._checked_at = -math.inf

    def _due(self) -> float:
        """When the known answers are to be run again."""
        return self._checked_at + (self._interval_s if self._passed else min(RECHECK_S, self._interval_s))

    def _next(self) -> Job | None:
        """The job to read now; None when the known answers are due, or all is over."""
        with self._changed:
            while not self._stopping and (left := self._due() - time.monotonic()) > 0:
                if self._passed and len(self._jobs):
                    return self._jobs.pop()
                self._changed.wait(left)
        return None

    def _check(self, answers: KnownAnswers) -> bool:
        wrong: str | None = None
        self._busy_since = time.monotonic()
        try:
            found = answers.check()
        except (AnswersWrong, EngineError) as error:
            wrong = str(error)
            logs.event("known_answers_failed", level=40, why=wrong)
        finally:
            self._busy_since = None
        if wrong is None:
            answers.keep(found)
        reach("engine.checked")
        self._post(AnswersChecked(time.monotonic(), wrong))
        return wrong is None

    def _read(self, job: Job, engine: Engine) -> ReadingFinished:
        queue_ms = (time.monotonic() - job.queued_at) * 1000
        now = [(one, folder.arrival(one.path)) for one in job.files]
        changed = tuple(current for one, current in now if current and _changed(one, current, job))
        vanished = tuple(one.path for one, current in now if current is None)
        if changed:
            return ReadingFinished(job, FilesChanged(changed), queue_ms, vanished)
        if job.reading is not None:
            return ReadingFinished(job, job.reading, queue_ms, vanished)
        self._charge(job.series_id)
        reach("try.charged")
        self._busy_since = time.monotonic()
        self.at_job = job.number
        result: Reading | EngineError
        try:
            result = read_series(job.slices, engine, job.rules)
        except EngineError as error:
            result = error
        finally:
            self._busy_since = self.at_job = None
        reach("reading.done")
        return ReadingFinished(job, result, queue_ms, vanished)


def _changed(parsed: Arrival, current: Arrival, job: Job) -> bool:
    """Whether a file is not what was parsed. A copy that keeps the time of its original fills a file that was
    there in its full size without a trace in its identity; the last look before a reading is told sees that.
    """
    closely = job.reading is not None
    return current.identity != parsed.identity or (closely and current.changed_ns != parsed.changed_ns)
