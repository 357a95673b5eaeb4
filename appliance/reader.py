"""The engine thread: owns the engine for life, reads one series at a time, and runs the known answers."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from appliance import logs
from appliance.faults import reach
from appliance.known_answers import AnswersWrong, KnownAnswers
from appliance.reading import Reading, Rules, read_series
from appliance.records import Slice
from engines.protocol import Engine, EngineError

RECHECK_S = 10.0
"""After failed known answers: nothing is read until they pass again."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """The slices of a series, to be read. `number` tells a result from that of an earlier job."""

    number: int
    slices: tuple[Slice, ...]
    queued_at: float


@dataclass(frozen=True, slots=True, eq=False)
class ReadingFinished:
    job: Job
    result: Reading | EngineError
    queue_ms: float


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The engine is loaded; its known answers come next."""

    engine: Engine


@dataclass(frozen=True, slots=True)
class AnswersChecked:
    """`wrong` says what differs; None when all known answers came out as expected."""

    at: float
    wrong: str | None


Message = EngineReady | AnswersChecked | ReadingFinished


class Reader(threading.Thread):
    """Reads what is submitted, in order, and tells of it through `post`."""

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        answers: Callable[[Engine], KnownAnswers],
        rules: Rules,
        interval_s: float,
        post: Callable[[Message], None],
    ) -> None:
        super().__init__(name="engine", daemon=True)
        self._open_engine = open_engine
        self._answers = answers
        self._rules = rules
        self._interval_s = interval_s
        self._post = post
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self.at_job: int | None = None
        """The number of the job that is being read."""

    def submit(self, job: Job) -> None:
        self._jobs.put(job)

    def stop(self) -> None:
        self._jobs.put(None)

    def busy_for(self, now: float) -> float:
        """Seconds that the engine call in progress has taken, 0 where there is none."""
        since = self._busy_since
        return 0.0 if since is None else now - since

    def run(self) -> None:
        engine = self._open_engine()
        reach("engine.opened")
        try:
            self._post(EngineReady(engine))
            self._serve(engine)
        finally:
            engine.close()

    def _serve(self, engine: Engine) -> None:
        answers = self._answers(engine)
        due = time.monotonic()
        passed = False
        while True:
            if time.monotonic() >= due:
                passed = self._check(answers)
                due = time.monotonic() + (self._interval_s if passed else min(RECHECK_S, self._interval_s))
            if not passed:
                if self._stopped_within(due - time.monotonic()):
                    return
                continue
            try:
                job = self._jobs.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                continue
            if job is None:
                return
            self._post(self._read(job, engine))

    def _stopped_within(self, seconds: float) -> bool:
        """Wait with the jobs left in their order; True when told to stop."""
        kept: list[Job] = []
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0:
                try:
                    job = self._jobs.get(timeout=left)
                except queue.Empty:
                    return False
                if job is None:
                    return True
                kept.append(job)
            return False
        finally:
            rest = [self._jobs.get() for _ in range(self._jobs.qsize())]
            for job in (*kept, *rest):
                self._jobs.put(job)

    def _check(self, answers: KnownAnswers) -> bool:
        wrong: str | None = None
        self._busy_since = time.monotonic()
        try:
            answers.check()
        except (AnswersWrong, EngineError) as error:
            wrong = str(error)
            logs.event("known_answers_failed", level=40, why=wrong)
        finally:
            self._busy_since = None
        reach("engine.checked")
        self._post(AnswersChecked(time.monotonic(), wrong))
        return wrong is None

    def _read(self, job: Job, engine: Engine) -> ReadingFinished:
        self._busy_since = started = time.monotonic()
        self.at_job = job.number
        result: Reading | EngineError
        try:
            result = read_series(job.slices, engine, self._rules)
        except EngineError as error:
            result = error
        finally:
            self._busy_since = self.at_job = None
        reach("reading.done")
        return ReadingFinished(job, result, (started - job.queued_at) * 1000)
