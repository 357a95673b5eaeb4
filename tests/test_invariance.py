"""One patient, one reading: whatever the scanner's orientation, numbering and slice thickness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.findings.objects import centroid_mm
from appliance.imaging.slices import read_slice
from appliance.reading import Reading, read_series, rules_for
from appliance.records import SlicePlan
from engines.bundle import embedded_model
from engines.protocol import Engine
from engines.runner import open_engine
from tools.phantom import Chest, Export, Phantom, make_chest, write_series

pytestmark = pytest.mark.slow

ORIENTATIONS = {
    "FFS": Export(position="FFS"),
    "HFP": Export(position="HFP"),
    "FFP": Export(position="FFP"),
    "HFDR": Export(position="HFDR"),
    "reversed instance numbers": Export(reverse_instances=True),
    "rows flipped": Export(flip_rows=True),
    "columns flipped": Export(flip_columns=True),
    "JPEG Lossless": Export(syntax="jpeg-lossless"),
    "implicit VR": Export(syntax="implicit"),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = open_engine(embedded_model("densitometry"))
    yield engine
    engine.close()


def chest(slice_mm: float) -> Phantom:
    return make_chest(Chest(kind="covid", seed=11, slice_mm=slice_mm, matrix=192, side="left"))


@pytest.fixture(scope="module")
def patient() -> Phantom:
    return chest(5.0)


def read(phantom: Phantom, export: Export, folder: Path, engine: Engine) -> Reading:
    plan = SlicePlan.for_grid(engine.spec.grid)
    slices = [read_slice(path, plan) for path in write_series(phantom, folder, export)]
    reading = read_series(slices, engine, rules_for(engine.spec))
    assert reading.problem is None, reading.problem
    return reading


@pytest.fixture(scope="module")
def reference(patient: Phantom, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return read(patient, Export(), tmp_path_factory.mktemp("hfs"), engine)


def place(reading: Reading) -> np.ndarray:
    assert reading.score is not None
    assert reading.score.heatmap is not None
    assert reading.volume is not None
    found = centroid_mm(reading.score.heatmap, reading.volume)
    assert found is not None
    return np.array(found)


def lesions_mm(phantom: Phantom) -> np.ndarray:
    """The centre of mass of the lesions, LPS."""
    z, y, x = (axis.mean() for axis in np.nonzero(phantom.lesions))
    steps = np.array((x, y, z)) * np.array(phantom.spacing_mm)[::-1]
    return np.array(phantom.origin_mm) + steps


def test_the_heatmap_is_where_the_lesions_are(patient: Phantom, reference: Reading) -> None:
    assert reference.score is not None
    assert reference.score.probability >= 0.5
    assert place(reference)[0] > 20, "the patient's left is positive x"
    assert np.linalg.norm(place(reference) - lesions_mm(patient)) < 30


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_orientation_and_encoding_change_nothing(
    name: str, patient: Phantom, reference: Reading, engine: Engine, tmp_path: Path
) -> None:
    reading = read(patient, ORIENTATIONS[name], tmp_path, engine)
    assert reading.score is not None
    assert reference.score is not None
    assert reading.score.probability == pytest.approx(reference.score.probability, abs=1e-4)
    np.testing.assert_allclose(place(reading), place(reference), atol=0.5)


@pytest.mark.parametrize("slice_mm", [1.0, 2.5])
def test_slice_thickness_changes_nothing(
    slice_mm: float, reference: Reading, engine: Engine, tmp_path: Path
) -> None:
    reading = read(chest(slice_mm), Export(), tmp_path, engine)
    assert reading.score is not None
    assert reference.score is not None
    assert reading.score.probability == pytest.approx(reference.score.probability, abs=1e-3)
    np.testing.assert_allclose(place(reading), place(reference), atol=3.2)
