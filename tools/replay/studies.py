"""What the simulated scanners export: studies that are repeated under new UIDs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from scipy import ndimage

from tools.phantom import (
    Chest,
    Export,
    Kind,
    Phantom,
    make_chest,
    write_dose_sheet,
    write_localizer,
    write_series,
)
from tools.phantom.dicom import uid
from tools.replay.restamp import NotRestamped, Original
from tools.scanner import Planned, plan


@dataclass(frozen=True, slots=True)
class Series:
    """A series to repeat, its files in the scanner's order. `cut` are those that are only half written."""

    name: str
    series_uid: str
    files: tuple[Original, ...]
    cut: frozenset[int] = frozenset()


Study = tuple[Series, ...]
"""A study to repeat: its series in the scanner's order."""


def from_folder(source: Path) -> list[Study]:
    """The studies below a folder; what cannot be given other UIDs is left out."""
    studies: dict[str, list[Series]] = {}
    for planned in plan(source):
        files = tuple(_originals(planned))
        if files:
            name = f"{planned.label} …{planned.series_uid[-8:]}"
            studies.setdefault(planned.study_uid, []).append(Series(name, planned.series_uid, files))
    return [tuple(series) for series in studies.values()]


def _originals(planned: Planned) -> Iterator[Original]:
    for path in planned.files:
        try:
            yield Original.of(path)
        except NotRestamped:
            continue


SEED: Final = 3
MATRIX: Final = 96

LOCALIZER, THICK, THIN, EMPTY, DOSE = "localizer", "thick", "thin", "no lung", "dose sheet"
DAMAGED: Final = "thick, a damaged file"

PATIENTS: Final[dict[Kind, tuple[str, ...]]] = {
    "covid": (LOCALIZER, THICK, THIN, DOSE),
    "cap": (LOCALIZER, THICK, DOSE),
    "clear": (LOCALIZER, THICK, THIN, EMPTY, DOSE),
}
"""The series that are made of each."""

DAY: Final[tuple[tuple[Kind, tuple[str, ...]], ...]] = (
    ("covid", (LOCALIZER, THICK, DOSE)),
    ("clear", (LOCALIZER, THIN, DOSE)),
    ("clear", (LOCALIZER, EMPTY)),
    ("clear", (LOCALIZER, THICK, DOSE)),
    ("cap", (LOCALIZER, THICK, DOSE)),
    ("clear", (LOCALIZER, THICK, DOSE)),
    ("covid", (LOCALIZER, THIN, THICK, DOSE)),
    ("clear", (LOCALIZER, THICK, DOSE)),
    ("covid", (LOCALIZER, DAMAGED, DOSE)),
    ("clear", (LOCALIZER, THIN, DOSE)),
)
"""A scanner's day in small; then the same again."""


def phantoms(folder: Path, progress: Callable[[str], None]) -> list[Study]:
    """The studies of a day, made of small phantoms."""
    made: dict[tuple[Kind, str], Series] = {}
    for kind, names in PATIENTS.items():
        progress(kind)
        made |= {(kind, name): series for name, series in _patient(folder / kind, kind, names).items()}
    whole = made["covid", THICK]
    made["covid", DAMAGED] = replace(whole, name=f"covid {DAMAGED}", cut=frozenset((len(whole.files) // 2,)))
    return [tuple(made[kind, name] for name in names) for kind, names in DAY]


def _patient(folder: Path, kind: Kind, names: Iterable[str]) -> dict[str, Series]:
    """All series of one patient, of one study."""
    chest = Chest(kind, SEED, slice_mm=5.0, matrix=MATRIX)
    export = Export(study=uid("replay", kind))
    thick = make_chest(chest)
    makers: dict[str, Callable[[Path], object]] = {
        LOCALIZER: lambda folder: write_localizer(chest, folder, export),
        THICK: lambda folder: write_series(thick, folder, export),
        THIN: lambda folder: write_series(make_chest(replace(chest, slice_mm=2.5)), folder, export),
        EMPTY: lambda folder: write_series(_without_lung(thick), folder, replace(export, series_number=3)),
        DOSE: lambda folder: write_dose_sheet(chest, folder, export),
    }
    series = {}
    for name in names:
        makers[name](folder / name)
        ((one,),) = from_folder(folder / name)
        series[name] = replace(one, name=f"{kind} {name}")
    return series


def _without_lung(phantom: Phantom) -> Phantom:
    """All air inside of the body becomes soft tissue."""
    hu = phantom.hu.copy()
    for plane in hu:
        body = plane > -400
        plane[ndimage.binary_fill_holes(body) & ~body] = np.int16(40)
    return replace(phantom, hu=hu)
