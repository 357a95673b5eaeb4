"""Processes that work for a tool, and end with it however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def workers(count: int | None = None) -> ProcessPoolExecutor:
    """So many of them, else one for each processor.

    They are spawned: a process that is forked beside the threads of ONNX Runtime may hang, and one that is
    forked beside an open GPU cannot use it.
    """
    return ProcessPoolExecutor(
        count or os.cpu_count(), multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )


def _end_with_parent() -> None:
    """A parent that is killed tells nobody, and its workers would wait for work for ever."""
    # Ctrl-C goes to the whole group; the parent says what becomes of the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def wait_for_the_end() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
