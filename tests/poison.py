"""Workers that really crash, hang and take too much memory on the files that are named so, and files that are
written while they are read."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO
from unittest import mock

from appliance.imaging import header, slices
from appliance.imaging.header import Instance
from appliance.imaging.isolation import SlicePool
from appliance.records import Slice, SlicePlan


def crash() -> None:
    ctypes.string_at(0)


def hang() -> None:
    time.sleep(600)


def gorge() -> None:
    hoard = []
    while True:
        hoard.append(bytearray(64 << 20))


def read_around_the_cache(path: Path, plan: SlicePlan) -> Slice:
    """Block by block first, each of which the kernel waits for even when the process is killed."""
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, 16 << 10) as block:
        while os.readv(file, [block]):
            pass
    os.close(file)
    return slices.read_slice(path, plan)


def meddle(path: Path, plan: SlicePlan) -> Slice:
    """Read a file that is written between its opening and its end."""

    def read_header(file: BinaryIO) -> Instance:
        os.utime(path, (1, 1))
        return header.read_header(file)

    with mock.patch.object(slices, "read_header", read_header):
        return slices.read_slice(path, plan)


POISONS = {"crash": crash, "hang": hang, "gorge": gorge}


class PoisonPool(SlicePool):
    """Reads headers as ever; pixels of a file whose name starts with a poison's get that poison instead."""

    def __init__(self) -> None:
        super().__init__(workers=1, memory_mb=512, timeout_s=3.0)
        self.submitted: list[str] = []

    def submit(self, path: Path, plan: SlicePlan) -> Future[Slice]:
        """`meddle-` files are written during their first reading only."""
        if path.name.startswith("meddle-") and path.name not in self.submitted:
            self.submitted.append(path.name)
            return self.call(meddle, path, plan)
        self.submitted.append(path.name)
        poison = POISONS.get(path.name.split("-", maxsplit=1)[0])
        if poison is not None and plan.pixels:
            return self.call(poison)  # type: ignore[arg-type]
        return super().submit(path, plan)
