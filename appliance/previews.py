"""The thread that keeps the images of readings for the page, as long as there is room and they are wanted.

They are a cache: nobody waits for one, a disk that refuses costs the image alone, and none is written where
the journal may soon need the room.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance import logs
from appliance.findings.preview import render_preview
from appliance.findings.record import SeriesRecord
from appliance.reading import Reading
from appliance.records import Float32, Volume

WAITING: Final = 4
"""So many volumes are held in memory at most."""

LEAST_FREE: Final = 2**30
LEAST_PART: Final = 0.05
"""So much of the disk, or LEAST_FREE where that is less, stays free."""

TIDY_S: Final = 60.0
REMOVED_AT_ONCE: Final = 200
DAY_S: Final = 86400.0


def preview_path(folder: Path, reading_key: str) -> Path:
    """Where the images of a reading are, if they are kept."""
    return folder / f"{reading_key}.zip"


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    key: str
    volume: Volume
    heatmap: Float32 | None


class Previews(threading.Thread):
    """`keep_days`: how long they are kept, 0 for none at all."""

    def __init__(self, folder: Path, keep_days: int) -> None:
        super().__init__(name="previews", daemon=True)
        self.keep_days = keep_days
        self._folder = folder
        self._tasks: queue.Queue[_Wanted | Path | None] = queue.Queue()
        self._held = threading.BoundedSemaphore(WAITING)
        self._failing = False

    def keep(self, record: SeriesRecord, reading: Reading) -> None:
        """A reading was recorded: keep its images, in place of those of the one that it supersedes."""
        if record.supersedes is not None:
            self._tasks.put(preview_path(self._folder, record.supersedes))
        if reading.volume is None or record.reading_key is None or self.keep_days == 0:
            return
        if not self._held.acquire(blocking=False):
            logs.event("image_not_kept", logging.WARNING, code="too_many")
            return
        heatmap = reading.score.heatmap if reading.score else None
        self._tasks.put(_Wanted(record.reading_key, reading.volume, heatmap))

    def stop(self) -> None:
        self._tasks.put(None)

    def run(self) -> None:
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                self._attempt(self._tidy)
                due = now + TIDY_S
            try:
                task = self._tasks.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                continue
            match task:
                case None:
                    return
                case Path():
                    self._attempt(lambda task=task: task.unlink(missing_ok=True))  # type: ignore[misc]
                case _Wanted():
                    self._attempt(lambda task=task: self._write(task))  # type: ignore[misc]
                    self._held.release()

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            if not self._failing:
                logs.event("images_not_kept", logging.WARNING, code=error.errno)
            self._failing = True
        else:
            self._failing = False

    def _write(self, wanted: _Wanted) -> None:
        """Whole under its name for whoever reads it meanwhile; after a power cut it may be damaged."""
        self._make_room()
        path = preview_path(self._folder, wanted.key)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            with os.fdopen(descriptor, "wb") as file:
                file.write(render_preview(wanted.volume, wanted.heatmap))
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _tidy(self) -> None:
        """Remove what is older than is wanted, some at a time, and more where the disk is nearly full."""
        oldest = time.time() - self.keep_days * DAY_S
        for path, written in self._oldest():
            if written > oldest:
                break
            path.unlink(missing_ok=True)
        self._make_room()

    def _make_room(self) -> None:
        """Remove the oldest until the disk is not nearly full. Raises OSError where they are not to blame."""
        if not self._is_full():
            return
        for path, _ in self._oldest():
            path.unlink(missing_ok=True)
            if not self._is_full():
                return
        raise OSError(errno.ENOSPC, "the disk is nearly full")

    def _oldest(self) -> list[tuple[Path, float]]:
        """Some of the images, the oldest first, and when they were written."""
        with os.scandir(self._folder) as entries:
            kept = [(Path(one.path), one.stat().st_mtime) for one in entries if one.name.endswith(".zip")]
        return sorted(kept, key=lambda one: one[1])[:REMOVED_AT_ONCE]

    def _is_full(self) -> bool:
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize < min(LEAST_FREE, LEAST_PART * disk.f_blocks * disk.f_frsize)
