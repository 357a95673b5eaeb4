"""The labelled series of a data set, and the files of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.imaging.header import NotDicom, Unreadable
from appliance.imaging.slices import ChangedMeanwhile, read_slice
from appliance.records import SlicePlan
from tools.evaluate.cases import GROUP, read_labels, read_names
from tools.sheet import Sheet

CENTRE = "centre"
PATIENT = "patient"

LABELS = "labels.csv"
"""The table of a data set, in its folder."""


@dataclass(frozen=True, slots=True)
class Case:
    """`name` is the table's, `label` 1 for what is to be flagged, `mask` the file of its lesions, `patient`
    who it is where the table says so."""

    name: str
    label: int
    group: str
    centre: str
    files: tuple[Path, ...]
    mask: Path | None = None
    patient: str = ""


def read_cases(root: Path, sheet: Sheet, positive: str | None = None) -> list[Case]:
    """The cases of a table with `series_uid` or `path` (below the root), `label` or `group`, `centre` and
    `patient`.

    Raises WrongInput where a line names no files.
    """
    labels = read_labels(sheet, positive)
    by_uid = "series_uid" in sheet.columns
    if not by_uid:
        sheet.needs("path", "or series_uid, to find the series of a label")
    column = "series_uid" if by_uid else "path"
    # A column `id` may name the cases for people, but finds no files.
    names = read_names(sheet, sheet.rows, column)
    known = _by_series(root) if by_uid else {}
    cases = []
    for row, name, label in zip(sheet.rows, names, labels, strict=True):
        # As tables from Windows name a folder, and with a slash at its end or without.
        place = PurePosixPath(name.replace("\\", "/"))
        files = known.get(name, ()) if by_uid else _below(root / place)
        if not files:
            raise sheet.problem(
                row, column, f"there is no series '{name}' in {root}: correct the name or delete it."
            )
        mask = root / f"{place}.mask.npz"
        cases.append(
            Case(
                name,
                int(label),
                row.cells.get(GROUP, ""),
                row.cells.get(CENTRE, ""),
                tuple(files),
                mask if mask.exists() else None,
                row.cells.get(PATIENT, ""),
            )
        )
    return cases


def _below(place: Path) -> Sequence[Path]:
    if place.is_file():
        return (place,)
    return sorted(path for path in place.rglob("*") if path.is_file())


def _by_series(root: Path) -> dict[str, list[Path]]:
    """The files below a folder by their Series Instance UID."""
    headers = SlicePlan.headers()
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in _below(root):
        try:
            found[read_slice(path, headers).header.series_uid].append(path)
        except (NotDicom, Unreadable, ChangedMeanwhile):
            continue
    return found
