"""Hints of the file system: what inotify(7) says of the folders that it is asked to watch.

It sees nothing that another machine writes to a share, its queue overflows and its watches are limited, so a
hint only makes something be looked at sooner. A folder is watched before it is listed: what comes into it in
between is then seen twice rather than never.

The system calls are watchdog's. Its observers are not used: they tell nobody that the queue overflowed, their
thread can die alone, and they follow a folder that was renamed away.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from watchdog.observers.inotify_c import (
    InotifyConstants,
    WatchDescriptor,
    inotify_add_watch,
    inotify_init,
    inotify_rm_watch,
)

_WATCHED: Final = (
    InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
)

_HEAD: Final = struct.Struct("iIII")
_BUFFER: Final = 1 << 16
_READS: Final = 64
"""So many buffers at a time, however fast more come."""

Lost = Literal["overflow", "limit", "broken"]
"""Why hints are missing: more came than the queue holds, the system allows no more watches, or the
descriptor broke."""


@dataclass(slots=True)
class Heard:
    """Paths at which something happened, True when their writer closed or renamed them.

    With `moved` the root is another folder now, or part of the tree was unmounted; with `overflow` hints are
    missing. Either way only a look at everything helps.
    """

    touched: dict[Path, bool] = field(default_factory=dict)
    moved: bool = False
    overflow: bool = False


class Hints:
    """The watched folders below one root, the one that was refreshed longest ago first."""

    def __init__(self, root: Path) -> None:
        """Raises OSError where the system allows no more of them."""
        self._root = root
        self._fd = _checked(inotify_init())
        os.set_inheritable(self._fd, False)
        os.set_blocking(self._fd, False)
        self._paths: dict[int, Path] = {}
        self._fresh: set[int] = set()

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def watch(self, folder: Path, *, newest: bool = False) -> bool:
        """Watch a folder, or refresh its path; False where the system allows no more watches.

        The `newest` folder takes the place of another one then: something is about to happen in it. A folder
        that vanished or is closed to us is left to whoever lists it.
        """
        try:
            self._add(folder)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                return True
            if newest and self._give_up_one():
                return self.watch(folder)
            return False
        return True

    def sweep(self) -> None:
        """Give up the folders that were not refreshed since the sweep before."""
        for number in self._paths.keys() - self._fresh:
            self._remove(number)
        self._fresh.clear()

    def read(self) -> Heard:
        """What was heard since the last time; raises OSError when the descriptor is broken."""
        heard = Heard()
        for _ in range(_READS):
            try:
                buffer = os.read(self._fd, _BUFFER)
            except BlockingIOError:
                break
            for number, mask, name in _events(buffer):
                self._hear(number, mask, name, heard)
        return heard

    def _hear(self, number: int, mask: int, name: bytes, heard: Heard) -> None:
        if mask & InotifyConstants.IN_Q_OVERFLOW:
            heard.overflow = True
        folder = self._paths.get(number)
        if folder is None:
            return
        if mask & InotifyConstants.IN_IGNORED:
            del self._paths[number]
            self._fresh.discard(number)
        if mask & InotifyConstants.IN_UNMOUNT or (
            mask & (InotifyConstants.IN_IGNORED | InotifyConstants.IN_MOVE_SELF) and folder == self._root
        ):
            heard.moved = True
        elif name:
            path = folder / os.fsdecode(name)
            whole = mask & (InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO) != 0
            # The last word counts: a file that was closed may be opened again.
            heard.touched.pop(path, None)
            heard.touched[path] = whole
            if mask & InotifyConstants.IN_ISDIR:
                self.watch(path, newest=True)

    def _add(self, folder: Path) -> None:
        # The number is the folder's own: one that was renamed keeps it, and gets its new path here.
        number = _checked(inotify_add_watch(self._fd, os.fsencode(folder), _WATCHED))
        self._paths.pop(number, None)
        self._paths[number] = folder
        self._fresh.add(number)

    def _give_up_one(self) -> bool:
        for number, folder in self._paths.items():
            if folder != self._root:
                self._remove(number)
                return True
        return False

    def _remove(self, number: int) -> None:
        del self._paths[number]
        self._fresh.discard(number)
        inotify_rm_watch(self._fd, WatchDescriptor(number))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _events(buffer: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at < len(buffer):
        number, mask, _, length = _HEAD.unpack_from(buffer, at)
        at += _HEAD.size
        yield number, mask, buffer[at : at + length].rstrip(b"\0")
        at += length
