"""The watch thread: hints of the file system are followed at once, a periodic look is the truth.

A path is told of again whenever its size, mtime or inode differ from what was told before. With each look
every folder is asked when it changed; all files are, unless a look at all of them takes so long that it
would keep a core busy: then only those of folders in which something happened lately, and all of them less
often. Whatever hangs hangs this thread alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import logs
from appliance.faults import reach
from appliance.intake import folder
from appliance.intake.census import Census
from appliance.intake.completeness import Sentinel
from appliance.intake.hints import Hints, Lost
from appliance.records import Arrival, FileIdentity, Problem

SETTLE_S = 0.2
"""A file that is being written is looked at when no hint came for so long; a closed one at once."""

REST = 9.0
"""After a look at everything, or at what happened lately, the next of its kind waits so many times what it
took: a tenth of one core for each."""

DOWN_S = 1.0
"""A folder that is down is tried again so soon."""

BATCH = 1000
NAMED = 10
"""So many folders that cannot be listed are named."""
COUNT_S = 3600.0

Identity = tuple[int, int]
"""Device and inode of a folder."""


@dataclass(frozen=True, slots=True)
class FilesSeen:
    """New or changed files; `at` on the monotonic clock. `lay_there`: before this process."""

    arrivals: tuple[Arrival, ...]
    at: float
    lay_there: bool = False


@dataclass(frozen=True, slots=True)
class OddSeen:
    """Something that is no regular file, and what to say of it. `lay_there`: before this process."""

    arrival: Arrival
    problem: Problem
    lay_there: bool


@dataclass(frozen=True, slots=True)
class SentinelSeen:
    """The exporter wrote a sentinel; every file that was there before it has been told of."""

    path: Path
    at: float


@dataclass(frozen=True, slots=True)
class Scanned:
    """A look at the folder that began at `began` ended; `down` says why it cannot be trusted, else None.

    `mount` is what it lies on, blank where that is not known. `bare`: nothing of ours was ever found in it,
    so that a share may yet be mounted over it. `took_s` is for a look at every file, `next_s` until the next
    look. `unreadable` are folders below that cannot be listed, `free_bytes` is what the file system has left,
    `hints_lost` says why hints were missing since the last time. Every hour `unknown` has the files not on
    record, for whoever knows what is on its way.
    """

    began: float
    at: float
    took_s: float
    next_s: float
    mount: str
    bare: bool
    down: folder.FolderDown | None
    unreadable: tuple[Path, ...] = ()
    free_bytes: int | None = None
    hints_lost: tuple[Lost, ...] = ()
    unknown: tuple[Path, ...] | None = None


class Watch(threading.Thread):
    """Tells of files in the export folder through `post`, which may block when its queue is full."""

    def __init__(
        self,
        root: Path,
        post: Callable[[FilesSeen | OddSeen | SentinelSeen | Scanned], None],
        *,
        known: Iterable[tuple[str, FileIdentity, int]],
        mount: str | None,
        bare: bool,
        rescan_s: float,
        hints: bool,
        sentinel: Sentinel | None,
        not_on_record: Callable[[Sequence[str]], Iterable[str]],
    ) -> None:
        """`known` need not be told of; `not_on_record` says which of a thousand paths the journal lacks.

        `mount` is what the folder must lie on, if that is known. `bare`: nothing of ours was ever in it.
        """
        super().__init__(name="watch", daemon=True)
        self._root = root
        self._post = post
        self._census = Census(known)
        self._mount = mount or ""
        self._bare = bare
        self._found = self._doubted = False
        self._rescan_s = rescan_s
        self._wants_hints = hints
        self._hints: Hints | None = None
        self._hints_lost: list[Lost] = []
        self._limit_met = self._limited = False
        self._sentinel = sentinel
        self._sentinels: list[Path] = []
        self._not_on_record = not_on_record
        self._odd: set[Path] = set()
        self._touched: dict[Path, float] = {}
        self._news: list[Arrival] = []
        self._vanished: deque[Path] = deque()
        self._passed: deque[Arrival] = deque()
        self._wake = os.eventfd(0)
        self._stopping = False
        self._look_asked = False
        self._asked_at: float | None = None
        self._first_look = True
        self._next_look = self._next_thorough = self._next_count = self._rested_at = 0.0
        self._took_s = 0.0

    def stop(self) -> None:
        self._stopping = True
        os.eventfd_write(self._wake, 1)

    def look(self) -> None:
        """Look at the folder without waiting for the next time."""
        self._look_asked = True
        os.eventfd_write(self._wake, 1)

    def rescan_every(self, seconds: float) -> None:
        """From now on."""
        self._rescan_s = seconds
        self.look()

    def use_hints(self, wanted: bool) -> None:
        """Whether hints are worth having, from the next look on."""
        self._wants_hints = wanted

    def found(self) -> None:
        """Something of ours is in the folder: what it lies on now is what is meant."""
        self._found = True

    def passed(self, arrival: Arrival) -> None:
        """A file is none of ours: tell of it again when its inode changes."""
        self._passed.append(arrival)

    def forget(self, path: Path) -> None:
        """Tell of a file with the next look again, should it be there: it was told of and not found."""
        self._vanished.append(path)

    def unanswered_s(self, now: float) -> float:
        """How long the file system has owed an answer."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else max(0.0, now - asked_at)

    def run(self) -> None:
        while not self._stopping:
            if self._look_asked:
                self._look_asked = False
                self._next_look = min(self._next_look, self._rested_at)
            if time.monotonic() >= self._next_look:
                self._look()
                reach("watch.scanned")
            self._follow_hints()
            self._sleep(self._patience(time.monotonic()))
        if self._hints is not None:
            self._hints.close()

    def _patience(self, now: float) -> float:
        if self._look_asked:
            return 0.0
        return SETTLE_S / 2 if self._touched else self._next_look - now

    def _sleep(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if self._hints is not None:
            poll.register(self._hints.fileno(), select.POLLIN)
        ready = poll.poll(max(0.0, seconds) * 1000)
        if (self._wake, select.POLLIN) in ready:
            os.eventfd_read(self._wake)

    # Hints

    def _hear_back(self) -> None:
        """What became of files that were told of."""
        while self._vanished:
            self._census.forget(self._vanished.popleft())
        while self._passed:
            self._census.passed(self._passed.popleft())

    def _follow_hints(self) -> None:
        self._hear_back()
        self._hear()
        now = time.monotonic()
        for path in [path for path, since in self._touched.items() if now - since >= SETTLE_S]:
            del self._touched[path]
            self._asked()
            one = folder.arrival(path)
            if one is None:
                self._look_below(path)
            elif self._census.noted(one, now):
                self._tell([one])
        for sentinel in self._sentinels[:]:
            # Hints of files in a new folder may be missing.
            self._look_below(sentinel.parent)
        self._tell_sentinels()

    def _hear(self) -> None:
        if self._hints is None:
            return
        try:
            heard = self._hints.read()
        except OSError:
            self._lose("broken")
            self._hints = None
            self._look_asked = True
            return
        now = time.monotonic()
        self._touched |= {path: 0.0 if whole else now for path, whole in heard.touched.items()}
        if heard.overflow:
            self._lose("overflow")
        if heard.overflow or heard.moved:
            self._look_asked = True

    def _lose(self, why: Lost) -> None:
        logs.event("watch_hints_lost", logging.WARNING, why=why)
        self._hints_lost.append(why)

    def _open_hints(self) -> None:
        if not self._wants_hints and self._hints is not None:
            self._hints.close()
            self._hints = None
        if self._wants_hints and self._hints is None:
            try:
                self._hints = Hints(self._root)
            except OSError:
                self._limit_met = True

    def _watch(self, path: Path) -> None:
        if self._hints is not None and not self._hints.watch(path):
            self._limit_met = True

    # Looks

    def _look(self) -> None:
        """Look at every folder, and at all files or those of folders in which something happened lately."""
        started = time.monotonic()
        thorough = started >= self._next_thorough
        unknown = _Unknown(self._not_on_record) if thorough and started >= self._next_count else None
        self._hear_back()
        unreadable: list[Path] = []
        down: folder.FolderDown | None = None
        try:
            self._asked()
            self._settle_mount()
            self._open_hints()
            for path, listing in self._listings(self._root, thorough, unreadable.append):
                if unknown is not None:
                    unknown.add(path, listing.names)
                if not self._first_look:
                    self._follow_hints()
            # What is empty or closed is so only while it is still the same folder.
            self._asked()
            folder.check(self._root, self._mount)
        except folder.FolderDown as error:
            down = error
        except OSError as error:
            down = folder.FolderDown(
                "export_folder_down", f"The export folder cannot be read: {error.strerror}."
            )
        self._tell_sentinels()
        if self._stopping:
            return
        self._doubted = down is not None
        if down is None:
            self._first_look = False
            self._bare = self._bare and not self._found
            self._settle_limit(thorough)
            if thorough and not unreadable:
                self._census.sweep()
                if self._hints is not None:
                    self._hints.sweep()
        free_bytes = self._free_bytes()
        ended = time.monotonic()
        self._rest(ended, ended - started, thorough=thorough, down=down is not None)
        counted = unknown.paths() if unknown is not None and down is None else None
        if counted is not None:
            self._next_count = ended + COUNT_S
        self._post(
            Scanned(
                started,
                ended,
                self._took_s,
                self._next_look - ended,
                self._mount,
                self._bare,
                down,
                tuple(unreadable[:NAMED]),
                free_bytes,
                tuple(self._hints_lost),
                counted,
            )
        )
        self._hints_lost.clear()

    def _rest(self, now: float, took_s: float, *, thorough: bool, down: bool) -> None:
        if down:
            self._next_thorough = 0.0
            self._next_look = self._rested_at = now + min(DOWN_S, self._rescan_s)
            return
        if thorough:
            self._took_s = took_s
            self._next_thorough = now + REST * took_s
        self._rested_at = now if thorough else now + REST * took_s
        self._next_look = max(now + self._rescan_s, self._rested_at)

    def _settle_mount(self) -> None:
        """As long as the folder is bare, whatever is mounted over it is taken, and looked at as at first."""
        # What was found by a look that ended on another mount may lie on either.
        self._found = self._found and not self._doubted
        self._bare = self._bare and not self._found
        mount = folder.check(self._root, None if self._bare else self._mount)
        if self._bare and mount != self._mount:
            self._first_look = True
        self._mount = mount

    def _settle_limit(self, thorough: bool) -> None:
        """A limit is told of when it is met, not with every look."""
        if self._limit_met and not self._limited:
            self._lose("limit")
        if self._limit_met or thorough:
            self._limited = self._limit_met
            self._limit_met = False

    def _look_below(self, top: Path) -> None:
        """Look at a part of the tree at once; what cannot be looked at is left to the next look at all."""
        with contextlib.suppress(OSError):
            for _ in self._listings(top, False, lambda path: None):
                pass

    def _listings(
        self, top: Path, thorough: bool, unreadable: Callable[[Path], None]
    ) -> Iterator[tuple[Path, folder.Listing]]:
        """Look at a folder and those below it, and tell of what is new; OSError where that cannot be."""
        pending: list[tuple[Path, tuple[Identity, ...]]] = [(top, ())]
        while pending and not self._stopping:
            path, above = pending.pop()
            try:
                self._asked()
                status = path.stat(follow_symlinks=path == self._root)
                here = status.st_dev, status.st_ino
                if not stat.S_ISDIR(status.st_mode) or here in above:
                    # Not a folder any more, or one that is mounted inside of itself.
                    continue
                stamp, now = (*here, status.st_mtime_ns), time.monotonic()
                names: Sequence[str] | None = None if thorough else self._census.settled(path, stamp, now)
                if names is None:
                    # Watched before it is listed: what comes in between is seen twice rather than never.
                    self._watch(path)
                    closed: list[Path] = []
                    found = folder.listing(path, unreadable=closed.append, answered=self._asked)
                    age_s = max(0.0, time.time() - status.st_mtime)
                    self._tell(self._census.listed(path, found, None if closed else stamp, now, age_s))
                    self._tell_odd(path, found.odd)
                    for one in closed:
                        unreadable(one)
                    yield path, found
                    names = found.folders
            except OSError as error:
                if path == top:
                    raise
                if not (isinstance(error, FileNotFoundError) or folder.is_of_the_system(path)):
                    unreadable(path)
                continue
            pending += [(path / name, (*above, here)) for name in reversed(names)]

    def _free_bytes(self) -> int | None:
        self._asked()
        try:
            status = os.statvfs(self._root)
        except OSError:
            return None
        finally:
            self._asked_at = None
        return status.f_bavail * status.f_frsize

    def _asked(self) -> None:
        """The file system is asked the next thing, so that it has answered the one before."""
        self._asked_at = time.monotonic()

    # What is told

    def _tell(self, arrivals: Iterable[Arrival]) -> None:
        """Tell of files, a thousand at a time."""
        for one in arrivals:
            if self._sentinel is not None and self._sentinel.matches(one.path):
                self._sentinels.append(one.path)
            else:
                self._news.append(one)
                if len(self._news) >= BATCH:
                    self._flush()

    def _tell_odd(self, path: Path, names: Sequence[str]) -> None:
        """Tell once of what is no regular file."""
        now = {path / name for name in names}
        self._odd -= {one for one in self._odd if one.parent == path} - now
        for one in sorted(now - self._odd):
            found = folder.odd(one)
            if found is not None:
                self._odd.add(one)
                self._post(OddSeen(*found, self._first_look))

    def _flush(self) -> None:
        self._asked_at = None
        if self._news:
            self._post(FilesSeen(tuple(self._news), time.monotonic(), self._first_look))
            self._news.clear()

    def _tell_sentinels(self) -> None:
        """Not those that lay there: nobody knows which of the files beside them came later."""
        self._flush()
        if not self._first_look:
            for path in self._sentinels:
                self._post(SentinelSeen(path, time.monotonic()))
        self._sentinels.clear()


class _Unknown:
    """The files that are not on record, asked for a thousand at a time."""

    def __init__(self, not_on_record: Callable[[Sequence[str]], Iterable[str]]) -> None:
        self._not_on_record = not_on_record
        self._asked: list[str] = []
        self._found: list[Path] = []

    def add(self, folder: Path, names: Iterable[str]) -> None:
        self._asked += [f"{folder}/{name}" for name in names]
        if len(self._asked) >= BATCH:
            self._ask()

    def paths(self) -> tuple[Path, ...]:
        self._ask()
        return tuple(self._found)

    def _ask(self) -> None:
        self._found += map(Path, self._not_on_record(self._asked))
        self._asked.clear()
