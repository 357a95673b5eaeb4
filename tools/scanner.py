"""A simulated scanner: exports series slice by slice into a folder, as a CT scanner does when a scan ends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

PIECE = 1 << 16


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


def export(contents: Iterable[bytes], folder: Path, files_per_second: float | None) -> Iterator[Path]:
    """Write the files one by one at the scanner's pace (None: as fast as the disk), under names of its own;
    yields each when whole."""
    folder.mkdir(parents=True, exist_ok=True)
    due = time.monotonic()
    for number, content in enumerate(contents, 1):
        target = folder / f"CT{number:05d}.dcm"
        # In place and not in one piece, while others may already look at it.
        with target.open("wb") as file:
            for start in range(0, len(content), PIECE):
                file.write(content[start : start + PIECE])
        yield target
        if files_per_second is not None:
            due += 1 / files_per_second
            time.sleep(max(0.0, due - time.monotonic()))
