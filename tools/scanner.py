"""A simulated scanner: exports series slice by slice into a folder, as a CT scanner does when a scan ends."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError


@dataclass(frozen=True, slots=True)
class Planned:
    """A series to export: its files in the scanner's order. `label` says what it is, for people."""

    series_uid: str
    study_uid: str
    label: str
    files: tuple[Path, ...]


def plan(source: Path) -> list[Planned]:
    """The series below a folder, each in the order of its instance numbers; what is no DICOM is left out."""
    series: dict[str, tuple[str, list[tuple[int, Path]]]] = {}
    for path in sorted(source.rglob("*")):
        if not path.is_file():
            continue
        try:
            header = pydicom.dcmread(
                path,
                specific_tags=["StudyInstanceUID", "SeriesInstanceUID", "InstanceNumber"],
                stop_before_pixels=True,
            )
            uid, study = str(header.SeriesInstanceUID), str(header.StudyInstanceUID)
            number = int(header.get("InstanceNumber") or 0)
        except (InvalidDicomError, AttributeError, ValueError, OSError):
            continue
        series.setdefault(uid, (study, []))[1].append((number, path))
    return [
        Planned(uid, study, files[0][1].parent.name, tuple(path for _, path in sorted(files)))
        for uid, (study, files) in series.items()
    ]


def export(
    series: Planned, folder: Path, files_per_second: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Path]:
    """Write the files one by one at the scanner's pace, under names of its own; yields each when whole."""
    folder.mkdir(parents=True, exist_ok=True)
    due = time.monotonic()
    for number, source in enumerate(series.files, 1):
        target = folder / f"CT{number:05d}.dcm"
        # A plain copy, with a time of its own, while others may already look at it.
        with source.open("rb") as original, target.open("wb") as copy:
            shutil.copyfileobj(original, copy)
        yield target
        due += 1 / files_per_second
        sleep(max(0.0, due - time.monotonic()))
