"""The state disk: what it refuses is tried again until it takes it.

A disk that is full or fails for a while must lose nothing and needs nobody to start anything: whoever writes
waits, in its place and order, while the light says FAULT.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from appliance import durable, logs

T = TypeVar("T")

RETRY_S: Final = 0.5

# No file that can be opened ends as a full disk does: by itself, when others let go of theirs.
_REFUSALS: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE))
_SQLITE_REFUSALS: Final = frozenset(
    (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
)


class GivenUp(Exception):
    """The process ends while the disk refuses: what was to be written is made again at the next start."""


def refused(error: OSError | sqlite3.OperationalError) -> bool:
    """Whether the disk is to blame, so that the same write may succeed later."""
    if isinstance(error, OSError):
        return error.errno in _REFUSALS
    # The low byte of an extended code is its primary one (https://sqlite.org/rescode.html).
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE_REFUSALS


class StateDisk:
    """Shared by all threads that write. `while_waiting` is called in the main thread between two tries."""

    def __init__(self) -> None:
        self.while_waiting: Callable[[], None] = lambda: None
        self._waiting: set[int] = set()
        self._giving_up = False

    @property
    def failing(self) -> bool:
        """Whether anybody waits: a small write may find room that another one does not."""
        return bool(self._waiting)

    def give_up(self) -> None:
        """From now on a refusal raises GivenUp instead of waiting."""
        self._giving_up = True

    def until_taken(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns; it must change nothing before it fails. Raises GivenUp."""
        while True:
            try:
                result = attempt()
            except (OSError, sqlite3.OperationalError) as error:
                if not refused(error):
                    raise
                if self._giving_up:
                    raise GivenUp from error
                self._wait(error)
            else:
                self._recovered()
                return result

    def write(self, path: Path, content: bytes) -> None:
        """A file under its final name, whole."""
        self.until_taken(lambda: durable.write(path, content))

    def _wait(self, error: OSError | sqlite3.OperationalError) -> None:
        if not self.failing:
            code = error.errno if isinstance(error, OSError) else error.sqlite_errorname
            logs.event("state_disk_refuses", logging.ERROR, code=code)
        self._waiting.add(threading.get_ident())
        if threading.current_thread() is threading.main_thread():
            self.while_waiting()
        time.sleep(RETRY_S)

    def _recovered(self) -> None:
        if threading.get_ident() in self._waiting:
            self._waiting.discard(threading.get_ident())
            if not self.failing:
                logs.event("state_disk_writable")
