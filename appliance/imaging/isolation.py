"""Worker processes for files that nobody vouches for: what a file does to its worker costs that file alone.

A worker is forked from a clean server process, so that it has nothing of the daemon's memory, and gives up
what it does not need: environment, core dumps, memory beyond a limit. A crash, a hang and a memory hog each
end as `WorkerLost` on the one future, while the neighbours go on.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import select
import signal
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

from appliance.imaging.slices import read_slice
from appliance.reasons import Reason
from appliance.records import Problem, Slice, SlicePlan

P = ParamSpec("P")
T = TypeVar("T")

_KEPT_ENVIRONMENT: Final = frozenset(("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV"))
_PR_SET_PDEATHSIG = 1


class WorkerLost(Exception):
    """The worker ended before its task did; `problem` says how."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(reason, detail)


class WorkerPool:
    """Runs functions in worker processes, one task a worker at a time.

    `memory_mb` is what a task may take beyond the idle worker, `timeout_s` how long it may run. Futures end
    with the function's result or exception, or with WorkerLost.
    """

    def __init__(self, workers: int, memory_mb: int = 1024, timeout_s: float = 5) -> None:
        self._workers = workers
        self._memory_mb = memory_mb
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._closed = False
        self._pool = self._start()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedules `function`, which like its arguments must be picklable."""
        with self._lock:
            if not self._closed and not self._pool.active:
                # Every worker was killed from outside: pebble gives such a pool up.
                self._pool.join()
                self._pool = self._start()
            task = self._pool.schedule(function, args=args, kwargs=kwargs, timeout=self._timeout_s)
        result: Future[T] = Future()
        result.set_running_or_notify_cancel()
        task.add_done_callback(lambda done: self._settle(done, result))
        return result

    def warm(self) -> None:
        """Waits until the workers run and have imported what they need."""
        for started in [self.call(os.getpid) for _ in range(self._workers)]:
            started.result()

    def close(self) -> None:
        """Ends the workers; tasks that have not ended are cancelled."""
        with self._lock:
            self._closed = True
            self._pool.stop()
        self._pool.join()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> ProcessPool:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        return ProcessPool(
            max_workers=self._workers,
            context=context,
            initializer=_confine,
            initargs=(os.getpid(), self._memory_mb << 20),
        )

    def _settle(self, done: Future[T], result: Future[T]) -> None:
        try:
            result.set_result(done.result())
        except TimeoutError:
            result.set_exception(self._lost(Reason.WORKER_TIMEOUT, f"took longer than {self._timeout_s:g} s"))
        except MemoryError:
            result.set_exception(self._lost(Reason.WORKER_MEMORY, f"took more than {self._memory_mb} MB"))
        except ProcessExpired as expired:
            ending = _ending(expired.exitcode)
            result.set_exception(self._lost(Reason.WORKER_CRASHED, f"ended its worker process ({ending})"))
        except (Exception, CancelledError) as error:
            result.set_exception(error)

    @staticmethod
    def _lost(reason: Reason, what: str) -> WorkerLost:
        return WorkerLost(reason, f"Reading the file {what}: export it again, or leave it out.")


class SlicePool(WorkerPool):
    """Reads slices in worker processes."""

    def submit(self, path: Path, plan: SlicePlan) -> Future[Slice]:
        """`read_slice` in a worker; the future ends with its Slice, its exception or WorkerLost."""
        return self.call(read_slice, path, plan)


def _ending(exit_code: int) -> str:
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"exit code {exit_code}"


def _confine(daemon: int, memory: int) -> None:
    """Runs in a new worker, before its first task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # pydicom's warnings quote what a header says, and this process shares the daemon's standard error.
    warnings.simplefilter("ignore")
    for name in os.environ.keys() - _KEPT_ENVIRONMENT:
        del os.environ[name]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    _die_with(daemon)


def _die_with(daemon: int) -> None:
    """Ends this process when the daemon does: it is the grandparent, so the kernel's own signal for orphans
    (which is set as well, for the server in between) does not tell."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        handle = os.pidfd_open(daemon)
    except ProcessLookupError:
        os._exit(1)

    def wait() -> None:
        select.select([handle], [], [])
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="die with the daemon").start()
