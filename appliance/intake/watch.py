"""The watch thread: file system events are hints, a periodic rescan is the truth.

inotify sees nothing that another machine writes to a share, and its queue overflows (inotify(7)), so an
event only makes a file be looked at sooner. A path is told of again whenever its size, mtime or inode
differ from what was told before.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from appliance import logs
from appliance.faults import reach
from appliance.intake import folder
from appliance.intake.completeness import Sentinel
from appliance.records import Arrival, FileIdentity

SETTLE_S = 0.2
"""A file that is being written is looked at when no event came for so long; a closed one at once."""

BATCH = 1000
COUNT_S = 3600.0


@dataclass(frozen=True, slots=True)
class FilesSeen:
    """New or changed files; `at` on the monotonic clock. `lay_there`: before this process."""

    arrivals: tuple[Arrival, ...]
    at: float
    lay_there: bool = False


@dataclass(frozen=True, slots=True)
class SentinelSeen:
    """The exporter wrote a sentinel; every file that was there before it has been told of."""

    path: Path
    at: float


@dataclass(frozen=True, slots=True)
class Scanned:
    """A rescan ended; `down` says why the folder cannot be trusted, else None.

    `unreadable` folders below cannot be listed, `free_bytes` is what the file system has left. Every hour
    `unknown` has the files that are not on record, for whoever knows what is on its way.
    """

    at: float
    took_s: float
    mount: str | None
    down: folder.FolderDown | None
    unreadable: int = 0
    free_bytes: int | None = None
    unknown: tuple[Path, ...] | None = None


class Watch(threading.Thread):
    """Tells of files in the export folder through `post`, which may block when its queue is full."""

    def __init__(
        self,
        root: Path,
        post: Callable[[FilesSeen | SentinelSeen | Scanned], None],
        *,
        known: Iterable[tuple[str, FileIdentity]],
        mount: str | None,
        rescan_s: float,
        hints: bool,
        sentinel: Sentinel | None,
        not_on_record: Callable[[Sequence[str]], Iterable[str]],
    ) -> None:
        """`known` need not be told of; `not_on_record` says which of a thousand paths the journal lacks."""
        super().__init__(name="watch", daemon=True)
        self._root = root
        self._post = post
        self._told = dict(known)
        self._mount = mount
        self._rescan_s = rescan_s
        self._hints = hints
        self._first_scan = True
        self._sentinel = sentinel
        self._not_on_record = not_on_record
        self._sentinels: list[Path] = []
        self._lock = threading.Lock()
        self._dirty: dict[str, float] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._next_count = 0.0

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        observer: BaseObserver | None = None
        next_scan = 0.0
        while not self._stopping:
            now = time.monotonic()
            if now >= next_scan:
                if observer is None or not observer.is_alive():
                    observer = self._observe()
                self._rescan()
                reach("watch.scanned")
                next_scan = time.monotonic() + self._rescan_s
            self._follow_hints()
            self._wake.wait(SETTLE_S / 2 if self._dirty else max(0.0, next_scan - time.monotonic()))
            self._wake.clear()
        if observer is not None:
            observer.stop()

    def hint(self, path: str, *, whole: bool) -> None:
        """Something happened to a path; `whole` when its writer closed or renamed it."""
        with self._lock:
            self._dirty[path] = 0.0 if whole else time.monotonic()
        self._wake.set()

    def _observe(self) -> BaseObserver | None:
        if not self._hints:
            return None
        observer = Observer()
        try:
            observer.schedule(_Hints(self.hint), str(self._root), recursive=True)
            observer.start()
        except OSError as error:
            logs.event("watch_hints_unavailable", errno=error.errno)
            return None
        return observer

    def _follow_hints(self) -> None:
        now = time.monotonic()
        with self._lock:
            ready = [path for path, since in self._dirty.items() if now - since >= SETTLE_S]
            for path in ready:
                del self._dirty[path]
        found = [one for one in (folder.arrival(Path(path)) for path in ready) if one is not None]
        self._tell(found)
        for sentinel in self._sentinels[:]:
            # Events of files in a new folder may be missing.
            with contextlib.suppress(OSError):
                self._tell(folder.scan(sentinel.parent))
        self._tell_sentinels()

    def _rescan(self) -> None:
        started = time.monotonic()
        counting = started >= self._next_count
        present: set[str] = set()
        unknown: list[Path] = []
        mount: str | None = None
        down: folder.FolderDown | None = None
        unreadable: list[Path] = []
        try:
            mount = folder.check(self._root, self._mount).signature
            self._mount = self._mount or mount
            for batch in _batches(folder.scan(self._root, unreadable=unreadable.append)):
                present.update(str(one.path) for one in batch)
                self._tell(batch, lay_there=self._first_scan)
                if counting:
                    unknown += map(Path, self._not_on_record([str(one.path) for one in batch]))
                if self._stopping:
                    return
            self._tell_sentinels()
            self._told = {path: identity for path, identity in self._told.items() if path in present}
            self._first_scan = False
        except folder.FolderDown as error:
            down = error
        except OSError as error:
            down = folder.FolderDown(
                "export_folder_down", f"The export folder cannot be read: {error.strerror}."
            )
        now = time.monotonic()
        counted = counting and down is None
        if counted:
            self._next_count = now + COUNT_S
        self._post(
            Scanned(
                now,
                now - started,
                mount,
                down,
                len(unreadable),
                self._free_bytes(),
                tuple(unknown) if counted else None,
            )
        )

    def _free_bytes(self) -> int | None:
        try:
            status = os.statvfs(self._root)
        except OSError:
            return None
        return status.f_bavail * status.f_frsize

    def _tell(self, arrivals: Iterable[Arrival], *, lay_there: bool = False) -> None:
        new = []
        for one in arrivals:
            if self._told.get(str(one.path)) == one.identity:
                continue
            self._told[str(one.path)] = one.identity
            if self._sentinel is not None and self._sentinel.matches(one.path):
                self._sentinels.append(one.path)
            else:
                new.append(one)
        if new:
            self._post(FilesSeen(tuple(new), time.monotonic(), lay_there))

    def _tell_sentinels(self) -> None:
        for path in self._sentinels:
            self._post(SentinelSeen(path, time.monotonic()))
        self._sentinels.clear()


def _batches(arrivals: Iterable[Arrival]) -> Iterator[list[Arrival]]:
    source = iter(arrivals)
    while batch := list(islice(source, BATCH)):
        yield batch


class _Hints(FileSystemEventHandler):
    def __init__(self, hint: Callable[..., None]) -> None:
        self._hint = hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.is_directory:
            return
        match event.event_type:
            case "created" | "modified":
                self._hint(str(event.src_path), whole=False)
            case "closed":
                self._hint(str(event.src_path), whole=True)
            case "moved":
                self._hint(str(event.dest_path), whole=True)
