"""A real daemon that has read one study of each kind, for the tests of what its page shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pydicom
from harness import Appliance

from tools.phantom import Chest, Export, Kind, make_chest, write_localizer, write_series

STATION = "CT7"
OTHER_STATION = "CT8"
ACCESSIONS = {"suspected": "ACC0004711", "clear": "ACC0004712", "gap": "ACC0004713"}
PATIENT = "WARD^PATIENT"


def chest(kind: Kind, seed: int) -> Chest:
    return Chest(kind=kind, seed=seed, slice_mm=5.0, matrix=128)


def made(kind: Kind, seed: int, folder: Path, accession: str, station: str = STATION) -> list[Path]:
    """The files of a study as a scanner names them: a chest, and a scout where it is suspected."""
    folder.mkdir(parents=True)
    files = write_series(make_chest(chest(kind, seed)), folder, Export())
    if kind == "covid":
        study = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
        sharp = replace(chest(kind, seed), kernel="sharp")
        (folder / "sharp").mkdir()
        export = Export(study=study, series_number=3)
        files += write_series(make_chest(sharp), folder / "sharp", export)
        files.append(write_localizer(chest(kind, seed), folder, Export(study=study, series_number=1)))
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.AccessionNumber = accession
        dataset.StationName = station
        dataset.PatientName = PATIENT
        dataset.save_as(file)
    return files


def export(appliance: Appliance, name: str, files: list[Path]) -> None:
    for number, folder in enumerate(sorted({file.parent for file in files})):
        appliance.copy([file for file in files if file.parent == folder], f"{name}/{number}")


@contextmanager
def ward(folder: Path, **settings: Any) -> Iterator[Appliance]:
    """Suspected (two kernels and a scout), not flagged, one with a slice missing, and a damaged file."""
    appliance = Appliance(folder, **settings)
    with appliance:
        export(appliance, "suspected", made("covid", 3, folder / "a", ACCESSIONS["suspected"]))
        export(appliance, "clear", made("clear", 4, folder / "b", ACCESSIONS["clear"], OTHER_STATION))
        gap = made("clear", 5, folder / "c", ACCESSIONS["gap"])
        export(appliance, "gap", gap[:20] + gap[21:])
        (appliance.export_folder / "broken.dcm").write_bytes(bytes(128) + b"DICM" + bytes(9000))
        appliance.wait_for_findings(6)
        appliance.wait("all have ended", lambda: not appliance.status()["in_progress"])
        yield appliance


def studies(appliance: Appliance, **query: str) -> dict[str, dict[str, Any]]:
    """What the API says of the studies, by their outcome."""
    found = httpx.get(f"{appliance.url}/api/studies", params=query, timeout=5).json()
    return {one["outcome"]: one for one in found}
