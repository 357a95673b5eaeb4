"""Plays the script of an export onto the file system, in its own time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.bench.completeness_arrivals import BRING_NO_SLICE, Do, Step

SENTINEL: Final = "export.done"
PIXEL_DATA: Final = b"\xe0\x7f\x10\x00"
"""(7FE0,0010) in little endian, PS3.5 7.1."""
ELEMENT_HEADER: Final = 12

DAY_S: Final = 86400


@dataclass(frozen=True, slots=True)
class Exported:
    """When the last slice was there: on the monotonic clock, and in Unix time."""

    last_slice: float
    last_slice_at: float


@dataclass(frozen=True, slots=True)
class Exporter:
    """Writes one series. `content` gives a file's bytes, `hidden` is a folder on the same file system that
    nobody watches, `set_clock` sets the appliance's clock to so many seconds from the true time."""

    folder: Path
    prefix: str
    content: Callable[[int], bytes]
    hidden: Path
    set_clock: Callable[[int], None] = lambda seconds: None

    def play(self, steps: Sequence[Step]) -> Exported:
        for folder in (self.folder, self.hidden):
            folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        last_slice = last_slice_at = 0.0
        for step in steps:
            time.sleep(max(0.0, began + step.at_s - time.monotonic()))
            self._do(step)
            if step.do not in BRING_NO_SLICE:
                last_slice, last_slice_at = time.monotonic(), time.time()
        return Exported(last_slice, last_slice_at)

    def _do(self, step: Step) -> None:
        name = f"{self.prefix}{step.index + 1:04d}.dcm"
        path = self.folder / name
        temporary = path.with_suffix(".part")
        match step.do:
            case Do.WRITE:
                _extend(path, self.content(step.index), step.share)
            case Do.WRITE_TEMPORARY:
                temporary.write_bytes(self.content(step.index))
            case Do.RENAME:
                temporary.rename(path)
            case Do.PREALLOCATE:
                path.write_bytes(_hollow(self.content(step.index)))
            case Do.FILL | Do.FILL_UNSEEN:
                before = path.stat()
                with path.open("r+b") as file:
                    file.write(self.content(step.index))
                if step.do is Do.FILL_UNSEEN:
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            case Do.HIDE:
                (self.hidden / name).write_bytes(self.content(step.index))
            case Do.SHOW:
                path.hardlink_to(self.hidden / name)
            case Do.SENTINEL:
                (self.folder / SENTINEL).touch()
            case Do.CLOCK_FORWARD:
                self.set_clock(DAY_S)
            case Do.CLOCK_BACK:
                self.set_clock(-DAY_S)


def _extend(path: Path, content: bytes, share: float) -> None:
    with path.open("ab") as file:
        file.write(content[file.tell() : round(share * len(content))])


def _hollow(content: bytes) -> bytes:
    """The header as it is, and zeros where the pixels will be."""
    pixels = content.index(PIXEL_DATA) + ELEMENT_HEADER
    return content[:pixels] + bytes(len(content) - pixels)
