"""Worker processes for files that nobody vouches for: what a file does to its worker costs that file alone.

A worker is forked from a clean server process, so that it has nothing of the daemon's memory, and gives up
what it does not need: environment, core dumps, memory beyond a limit. It has a pipe of its own, so whoever
ends early (a crash, a hang, a memory hog) is known by the end of its pipe, takes the one future with it that
it was at, as `WorkerLost`, and is replaced when there is something to do. No lock is shared with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import select
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, InvalidStateError
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, ParamSpec, Self, TypeVar

from appliance.faults import reach
from appliance.imaging.slices import read_slice
from appliance.reasons import Reason
from appliance.records import Arrival, Problem, Slice, SlicePlan

P = ParamSpec("P")
T = TypeVar("T")

_KEPT_ENVIRONMENT: Final = frozenset(("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV"))
_START_S: Final = 60.0
_END_S: Final = 2.0
"""How long closing waits for workers that are killed: inside a share that hangs one ends with that alone."""
_PRELOADED: Final = (__name__, "appliance.imaging.silent_start")
_TASKS_A_WORKER: Final = 2
"""The one it is at and the next, so that it never waits for the daemon."""
_OUT_OF_MEMORY: Final = 86
"""The exit code of a worker whose task asked for more memory than it may have."""


class WorkerLost(Exception):
    """The worker ended before its task did; `problem` says how."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(reason, detail)


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    future: Future[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class _Worker:
    """One process, the daemon's end of its pipe, the task that it is at and those that it has next."""

    def __init__(self, memory_mb: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_PRELOADED))
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, os.getpid(), memory_mb << 20), name="slice worker", daemon=True
        )
        self.process.start()
        theirs.close()
        self.started = False
        self.tasks: deque[_Task] = deque()
        self.deadline = time.monotonic() + _START_S

    def end(self, wait: Callable[[], bool]) -> None:
        """Ends the process if it still runs, which is waited for as long as `wait` says."""
        self.process.kill()
        while self.process.exitcode is None and wait():
            self.process.join(0.1)
        self.pipe.close()


class WorkerPool:
    """Runs functions in up to `workers` processes.

    `memory_mb` is what a task may take beyond an idle worker, `timeout_s` how long it may run. Futures end
    with the function's result or exception, or with WorkerLost. Callbacks run in the pool's thread.
    """

    def __init__(self, workers: int, memory_mb: int = 1024, timeout_s: float = 5) -> None:
        self._limit = workers
        self._memory_mb = memory_mb
        self._timeout_s = timeout_s
        self._waiting: deque[_Task] = deque()
        self._workers: list[_Worker] = []
        self._closing = False
        self._wake_end, self._wake = multiprocessing.Pipe(duplex=False)
        self._thread = threading.Thread(target=self._run, name="worker pool", daemon=True)
        self._thread.start()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs `function` in a worker; it and its arguments must be picklable."""
        future: Future[T] = Future()
        self._waiting.append(_Task(future, function, args, kwargs))
        self._wake.send_bytes(b"\0")
        if self._closing:
            self._abandon(CancelledError())
        return future

    def start(self) -> list[Future[None]]:
        """Has all workers start; the futures end when they run and have imported what they need."""
        return [self.call(time.sleep, 0.01) for _ in range(self._limit)]

    def warm(self) -> None:
        """Waits until all workers run."""
        for started in self.start():
            started.result()

    def close(self) -> None:
        """Ends the workers; what they have not finished is cancelled."""
        self._closing = True
        self._wake.send_bytes(b"\0")
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        why: BaseException = CancelledError()
        try:
            self._serve_tasks()
        except Exception as error:
            # A daemon hears of it first, and ends; elsewhere whoever waits for a task would wait for ever.
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            why = WorkerLost(
                Reason.WORKER_CRASHED,
                f"No worker process can be started or heard ({type(error).__name__}): end what else runs on"
                " this machine, and try again.",
            )
        finally:
            self._closing = True
            self._end_workers()
            self._abandon(why)

    def _serve_tasks(self) -> None:
        while not self._closing:
            self._dispatch()
            for ready in wait([self._wake_end, *(worker.pipe for worker in self._workers)], self._patience()):
                if ready is self._wake_end:
                    self._wake_end.recv_bytes()
                else:
                    self._hear(next(worker for worker in self._workers if worker.pipe is ready))
            for worker in list(self._workers):
                if worker.tasks and time.monotonic() >= worker.deadline:
                    self._lose(worker, Reason.WORKER_TIMEOUT, f"took longer than {self._timeout_s:g} s")

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        end = time.monotonic() + _END_S
        for worker in self._workers:
            worker.end(lambda: time.monotonic() < end)
            self._waiting.extend(worker.tasks)

    def _abandon(self, why: BaseException) -> None:
        """Nobody does what waits. The thread that calls and the one that ends may both find some of it."""
        with contextlib.suppress(IndexError):
            while True:
                future = self._waiting.popleft().future
                if isinstance(why, CancelledError) and future.cancel():
                    continue
                with contextlib.suppress(InvalidStateError):
                    future.set_exception(why)

    def _dispatch(self) -> None:
        """Hands waiting tasks to idle workers, to new ones as far as there may be more, and to busy ones."""
        while self._waiting:
            worker = self._free()
            if worker is None:
                return
            task = self._waiting.popleft()
            if not (task.future.running() or task.future.set_running_or_notify_cancel()):
                continue
            try:
                worker.pipe.send((task.function, task.args, task.kwargs))
            except OSError:
                pass  # it is gone, which the end of its pipe says as well
            except Exception as error:  # what cannot be pickled raises whatever it likes
                task.future.set_exception(error)
                continue
            if worker.started and not worker.tasks:
                worker.deadline = time.monotonic() + self._timeout_s
            worker.tasks.append(task)

    def _free(self) -> _Worker | None:
        """The worker to have the next task: an idle one, a new one, or the one with the least to do."""
        worker = min(self._workers, key=lambda worker: len(worker.tasks), default=None)
        if (worker is None or worker.tasks) and len(self._workers) < self._limit:
            reach("worker.starting")
            worker = _Worker(self._memory_mb)
            self._workers.append(worker)
        return worker if worker is not None and len(worker.tasks) < _TASKS_A_WORKER else None

    def _patience(self) -> float | None:
        deadlines = [worker.deadline for worker in self._workers if worker.tasks]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _hear(self, worker: _Worker) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        except Exception as error:  # what cannot be unpickled raises whatever it likes
            message = (False, error)
        worker.deadline = time.monotonic() + self._timeout_s
        if message is None:
            worker.started = True
            return
        future = worker.tasks.popleft().future
        succeeded, value = message
        if succeeded:
            future.set_result(value)
        else:
            future.set_exception(value)

    def _bury(self, worker: _Worker) -> None:
        worker.process.join(1.0)
        code = worker.process.exitcode
        if code == _OUT_OF_MEMORY:
            self._lose(worker, Reason.WORKER_MEMORY, f"took more than {self._memory_mb} MB")
        else:
            self._lose(worker, Reason.WORKER_CRASHED, f"ended its worker process ({_ending(code)})")

    def _lose(self, worker: _Worker, reason: Reason, what: str) -> None:
        # Not one more for each that a share holds: none is replaced before it is gone.
        worker.end(lambda: not self._closing)
        self._workers.remove(worker)
        if worker.tasks:
            detail = f"Reading the file {what}: export it again, or leave it out."
            worker.tasks.popleft().future.set_exception(WorkerLost(reason, detail))
        self._waiting.extendleft(reversed(worker.tasks))


class SlicePool(WorkerPool):
    """Reads slices in worker processes."""

    def submit(self, path: Path, plan: SlicePlan) -> Future[Slice]:
        """`read_slice` in a worker; the future ends with its Slice, its exception or WorkerLost."""
        return self.call(read_slice, path, plan)

    def read_all(
        self, arrivals: Iterable[Arrival], plan: SlicePlan, window: int
    ) -> Iterator[tuple[Arrival, Slice | BaseException]]:
        """Each file with its slice or what reading it ended with, in order; `window` files are read ahead."""
        waiting: deque[tuple[Arrival, Future[Slice]]] = deque()
        for one in arrivals:
            waiting.append((one, self.submit(one.path, plan)))
            if len(waiting) > window:
                yield _outcome(*waiting.popleft())
        while waiting:
            yield _outcome(*waiting.popleft())


def _outcome(one: Arrival, future: Future[Slice]) -> tuple[Arrival, Slice | BaseException]:
    error = future.exception()
    return (one, future.result() if error is None else error)


def _ending(code: int | None) -> str:
    try:
        return signal.Signals(-(code or 0)).name
    except ValueError:
        return f"exit code {code}"


def _serve(pipe: Connection, daemon: int, memory: int) -> None:
    """The life of a worker."""
    _confine(memory)
    _end_with(daemon)
    # A daemon that ended has closed its end of the pipe, maybe in the middle of a message.
    with contextlib.suppress(EOFError, OSError):
        _work(pipe)


def _work(pipe: Connection) -> None:
    pipe.send(None)
    while True:
        function, args, kwargs = pipe.recv()
        try:
            outcome = True, function(*args, **kwargs)
        except MemoryError:
            # What the task allocated may be held by anything by now: a new worker starts clean.
            os._exit(_OUT_OF_MEMORY)
        except Exception as error:  # it is the caller's
            outcome = False, error
        try:
            pipe.send(outcome)
        except OSError:
            raise
        except Exception as error:  # what cannot be pickled raises whatever it likes
            pipe.send((False, TypeError(f"The result cannot be pickled: {type(error).__name__}")))


def _confine(memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # pydicom's warnings quote what a header says, and this process shares the daemon's standard error.
    warnings.simplefilter("ignore")
    for name in os.environ.keys() - _KEPT_ENVIRONMENT:
        del os.environ[name]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _end_with(daemon: int) -> None:
    """Ends this process with the daemon, even in the middle of a task. The daemon is its grandparent, whose
    end the kernel does not signal (PR_SET_PDEATHSIG): a thread waits for it."""
    try:
        handle = os.pidfd_open(daemon)
    except ProcessLookupError:
        os._exit(1)

    def wait_for_the_end() -> None:
        select.select([handle], [], [])
        os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
