"""The heatmap lies where the lesion is: in the patient, and in the slices, rows and columns of the series."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from appliance.findings.objects import render_heatmap
from appliance.findings.preview import Preview, render_preview
from appliance.imaging.slices import read_slice
from appliance.reading import Reading, read_series, rules_for
from appliance.records import SlicePlan
from engines.bundle import embedded_model
from engines.protocol import Engine
from engines.runner import open_engine
from tools.phantom import Chest, Export, Phantom, make_chest, write_series
from tools.phantom.export import Position
from tools.phantom.lesions import DiseaseRanges

CELL_MM = np.array([51.2, 51.2, 40.0])
"""Of the last pooling, along x, y and z: the grid of 128 × 128 × 80 voxels in 8 × 8 × 10 cells."""

LESIONS: dict[str, Chest] = {
    "left lower lobe, posterior": Chest("covid", 529, slice_mm=5.0, matrix=128, side="left"),
    "right upper lobe, anterior": Chest("covid", 1069, slice_mm=5.0, matrix=128, side="right"),
}
POSITIONS: tuple[Position, ...] = ("HFS", "FFS", "HFP")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = open_engine(embedded_model("csac-net-edge"))
    yield engine
    engine.close()


@functools.cache
def chest(name: str) -> Phantom:
    """One with one patch of ground glass."""
    lower = 1.0 if "lower" in name else 0.0
    one_patch = DiseaseRanges(
        ground_glass_count=(1, 1),
        ground_glass_mm=(42, 45),
        ground_glass_hu=(-600, -520),
        ground_glass_lower=lower,
    )
    return make_chest(LESIONS[name], one_patch)


@pytest.fixture(scope="module", params=LESIONS)
def patient(request: pytest.FixtureRequest) -> Phantom:
    return chest(request.param)


@pytest.fixture(scope="module", params=POSITIONS)
def export(request: pytest.FixtureRequest) -> Export:
    return Export(position=request.param)


@pytest.fixture(scope="module")
def files(patient: Phantom, export: Export, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(patient, tmp_path_factory.mktemp("series"), export)


@pytest.fixture(scope="module")
def reading(files: list[Path], engine: Engine) -> Reading:
    plan = SlicePlan.for_grid(engine.spec.grid)
    reading = read_series([read_slice(path, plan) for path in files], engine, rules_for(engine.spec))
    assert reading.problem is None, reading.problem
    return reading


def peak_mm(reading: Reading) -> np.ndarray:
    """The centre of the highest cell in LPS, as the object says that is kept of a finding."""
    assert reading.score is not None
    assert reading.score.heatmap is not None
    assert reading.volume is not None
    kept = np.load(io.BytesIO(render_heatmap(reading.score.heatmap, reading.volume)))
    np.testing.assert_allclose(kept["spacing_mm"][::-1], CELL_MM)
    highest = np.unravel_index(kept["heatmap"].argmax(), kept["heatmap"].shape)
    place: np.ndarray = kept["origin_mm"] + (np.array(highest) * kept["spacing_mm"])[::-1]
    return place


def lesion_mm(patient: Phantom) -> np.ndarray:
    """The lesion's centre of mass in LPS."""
    centre = np.argwhere(patient.lesions).mean(axis=0) * patient.spacing_mm
    return np.array(patient.origin_mm) + centre[::-1]


def middle_mm(patient: Phantom) -> np.ndarray:
    extent = (np.array(patient.lesions.shape) - 1) * patient.spacing_mm
    return np.array(patient.origin_mm) + extent[::-1] / 2


def pixels_of(patient: Phantom, export: Export, folder: Path) -> np.ndarray:
    """The lesion in [slice, row, column] of the series, drawn by the scanner into a series of its own."""
    drawn = replace(patient, hu=np.where(patient.lesions, 1000, -1000).astype(np.int16))
    images = [pydicom.dcmread(path).pixel_array for path in write_series(drawn, folder, export)]
    pixels = np.stack(images)
    return pixels > pixels.min()


def in_series(place_mm: np.ndarray, files: Sequence[Path]) -> np.ndarray:
    """The slice, row and column at a place of the patient, by the headers (PS3.3 C.7.6.2.1.1)."""
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    assert [header.InstanceNumber for header in headers] == list(range(1, len(headers) + 1))
    along_row, along_column = np.array(headers[0].ImageOrientationPatient, float).reshape(2, 3)
    positions = np.array([header.ImagePositionPatient for header in headers], float)
    normal = np.cross(along_row, along_column)
    number = int(np.abs((positions - place_mm) @ normal).argmin())
    offset = place_mm - positions[number]
    between_rows, between_columns = map(float, headers[0].PixelSpacing)
    return np.array([number, offset @ along_column / between_rows, offset @ along_row / between_columns])


def test_the_lesion_is_more_than_a_cell_from_where_any_mirror_puts_it(patient: Phantom) -> None:
    mirrored = 2 * np.abs(lesion_mm(patient) - middle_mm(patient))
    assert (mirrored > 1.5 * CELL_MM).all(), mirrored


def test_the_peak_is_within_a_cell_of_the_lesion(patient: Phantom, reading: Reading) -> None:
    away = np.abs(peak_mm(reading) - lesion_mm(patient))
    assert (away <= CELL_MM).all(), away


def test_the_peak_is_in_the_lesions_slices_and_on_its_side_of_the_series(
    patient: Phantom, export: Export, files: list[Path], reading: Reading, tmp_path: Path
) -> None:
    lesion = np.argwhere(pixels_of(patient, export, tmp_path)).mean(axis=0)
    peak = in_series(peak_mm(reading), files)
    middle = (np.array(patient.hu.shape) - 1) / 2
    assert (np.sign(peak - middle) == np.sign(lesion - middle)).all(), (peak, lesion)
    away = np.abs(peak - lesion) * patient.spacing_mm
    assert (away <= CELL_MM[::-1]).all(), away


def test_the_page_opens_at_the_lesions_slice(patient: Phantom, reading: Reading, tmp_path: Path) -> None:
    assert reading.score is not None
    assert reading.volume is not None
    (tmp_path / "preview.zip").write_bytes(render_preview(reading.volume, reading.score.heatmap))
    shown = Preview.open(tmp_path / "preview.zip").peak
    assert shown is not None
    z = reading.volume.origin_mm[2] + shown * reading.volume.spacing_mm[0]
    assert abs(z - lesion_mm(patient)[2]) <= CELL_MM[2]
