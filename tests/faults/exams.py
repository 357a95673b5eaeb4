"""What a scanner exports while the appliance dies under it: chests so small that one takes a moment."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pydicom
from command import scanlight
from witness import Told, Witness, latest

from engines.bundle import embedded_model
from tools.phantom import Chest, Export, Kind, make_chest, write_localizer, write_series

_UID = re.compile(rb"2\.25\.(\d+)")


@dataclass(frozen=True, slots=True)
class Patients:
    """As many patients as are wanted, made from two."""

    flagged: tuple[bytes, ...]
    clear: tuple[bytes, ...]
    localizer: bytes

    @classmethod
    def make(cls, folder: Path) -> Patients:
        def chest(kind: Kind) -> Chest:
            return Chest(kind=kind, seed=3, slice_mm=5.0, matrix=80)

        def series(kind: Kind) -> tuple[bytes, ...]:
            files = write_series(make_chest(chest(kind)), folder / kind, Export())
            return tuple(file.read_bytes() for file in files)

        return cls(series("covid"), series("clear"), write_localizer(chest("covid"), folder).read_bytes())


def renamed(content: bytes, patient: int) -> bytes:
    """The same file of another patient: its own UIDs replaced by others of the same length."""

    def another(uid: re.Match[bytes]) -> bytes:
        digits = int(hashlib.sha256(b"%d of %d" % (int(uid[1]), patient)).hexdigest(), 16)
        return b"2.25." + str(digits).encode()[: len(uid[1])]

    return _UID.sub(another, content)


def uid_in(content: bytes) -> str:
    return str(pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).SeriesInstanceUID)


class Scanner:
    """Writes exams into an export folder; it cares for nobody, but knows when a finding is there."""

    def __init__(
        self, folder: Path, patients: Patients, witness: Witness | None = None, patience_s: float = 0
    ) -> None:
        self._folder = folder
        self._patients = patients
        self._witness = witness
        self._patience_s = patience_s

    def write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def series(self, name: str, files: tuple[bytes, ...], first: int = 0) -> None:
        for number, content in enumerate(files, first):
            self.write(f"{name}/{number:03}.dcm", content)

    def old(self, patient: int) -> None:
        """A few files from long before the installation."""
        for number, content in enumerate(self._patients.clear[:3]):
            self.write(f"{patient} old/{number:03}.dcm", renamed(content, patient))
        for path in (self._folder / f"{patient} old").iterdir():
            os.utime(path, (0, time.time() - 3 * 86400))

    def flagged(self, patient: int) -> None:
        self.series(f"{patient} flagged", self._chest(patient))

    def clear(self, patient: int) -> None:
        self.series(f"{patient} clear", self._of(self._patients.clear, patient))

    def companions(self, patient: int) -> None:
        """A localizer, one that is cut off, and a file that only looks like an image."""
        localizer = renamed(self._patients.localizer, patient)
        self.write(f"{patient} companions/localizer.dcm", localizer)
        cut = renamed(self._patients.localizer, -patient)[:2000]
        self.write(f"{patient} companions/{patient} cut.dcm", cut)
        self.write(f"{patient} companions/{patient} text.dcm", b"no image")

    def late_slice(self, patient: int) -> None:
        """The last slice comes when the others have a finding."""
        *most, last = files = self._chest(patient)
        self.series(f"{patient} late", tuple(most))
        self._until_finding(files)
        self.series(f"{patient} late", (last,), len(most))

    def again(self, patient: int) -> None:
        """The same files once more, elsewhere."""
        files = self._chest(patient)
        self.series(f"{patient} again", files)
        self._until_finding(files)
        self.series(f"{patient} and again", files)

    def replaced(self, patient: int) -> None:
        """A slice is written anew with other pixels, under its name or another one."""
        files = self._chest(patient)
        self.series(f"{patient} replaced", files)
        self._until_finding(files)
        middle = len(files) // 2
        content = files[middle][:-64] + bytes(64)
        if patient % 2:
            self.write(f"{patient} replaced/part", content)
            part = self._folder / f"{patient} replaced/part"
            part.replace(part.with_name(f"{middle:03}.dcm"))
        else:
            self.write(f"{patient} another/{middle:03}.dcm", content)

    def _chest(self, patient: int) -> tuple[bytes, ...]:
        return self._of(self._patients.flagged, patient)

    def _of(self, files: tuple[bytes, ...], patient: int) -> tuple[bytes, ...]:
        return tuple(renamed(content, patient) for content in files)

    def _until_finding(self, files: tuple[bytes, ...]) -> None:
        if self._witness is not None:
            self._witness.wait_for(f"{uid_in(files[0])}.r1.json", self._patience_s)


EXAMS: tuple[Callable[[Scanner, int], None], ...] = (
    Scanner.flagged,
    Scanner.companions,
    Scanner.late_slice,
    Scanner.clear,
    Scanner.again,
    Scanner.companions,
    Scanner.replaced,
)


def routine(scanner: Scanner) -> None:
    """A few exams that lead past every point."""
    scanner.companions(1)
    scanner.late_slice(2)


def busy_day(scanner: Scanner, chance: random.Random, stop: threading.Event) -> None:
    """One exam after the other; the one that is at it when told to stop is exported to its end."""
    for patient in itertools.count(1):
        if stop.wait(chance.uniform(0, 2)):
            return
        EXAMS[patient % len(EXAMS)](scanner, patient)


def read_offline(folder: Path) -> dict[str, Told]:
    """What `scanlight read` says of the files in a folder, with the model of the appliances."""
    model = embedded_model("densitometry")
    lines = scanlight("read", "--json", "--model", model, folder).stdout.splitlines()
    return latest(map(json.loads, lines))
