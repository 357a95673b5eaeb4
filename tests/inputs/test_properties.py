"""Whatever headers and pixels hold, a series ends in one way, with a sentence, and never in an exception."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from fuzz.mutations import VALUES, another_value, damaged, with_value
from fuzz.seeds import SECTION, encoded, section, seeds
from fuzz.target import GRID, PLAN, POLICY, Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imaging.synthetic import chest, ct, write_volume

from appliance.imaging.assess import assess
from appliance.imaging.slices import NotDicom, Unreadable, read_slice

pytestmark = pytest.mark.filterwarnings("ignore")

PLAIN = encoded(section())
VRS = {
    0x00080008: b"CS",  # Image Type
    0x00080060: b"CS",  # Modality
    0x00100020: b"LO",  # Patient ID
    0x00101010: b"AS",  # Patient's Age
    0x00180050: b"DS",  # Slice Thickness
    0x00180060: b"DS",  # KVP
    0x0020000E: b"UI",  # Series Instance UID
    0x00200012: b"IS",  # Acquisition Number
    0x00200032: b"DS",  # Image Position
    0x00200037: b"DS",  # Image Orientation
    0x00280002: b"US",  # Samples per Pixel
    0x00280010: b"US",  # Rows
    0x00280030: b"DS",  # Pixel Spacing
    0x00280100: b"US",  # Bits Allocated
    0x00280101: b"US",  # Bits Stored
    0x00280103: b"US",  # Pixel Representation
    0x00281052: b"DS",  # Rescale Intercept
    0x00281053: b"DS",  # Rescale Slope
}

quietly = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target(tmp_path_factory.mktemp("target"))


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A slice with some values changed: to odd ones of their kind, to numbers, or to any bytes."""
    data = PLAIN
    for tag in draw(st.sets(st.sampled_from(sorted(VRS)), min_size=1, max_size=4)):
        numbers = st.lists(st.floats(width=32), min_size=1, max_size=6)
        value = st.one_of(
            st.sampled_from(VALUES[VRS[tag]]),
            numbers.map(lambda found: "\\".join(f"{number:.9g}" for number in found).encode()),
            st.binary(max_size=12),
        )
        data = with_value(data, tag, draw(value))
    return data


@quietly
@given(data=headers())
def test_any_header_ends_in_one_way(data: bytes, target: Target) -> None:
    target.read(data)


@quietly
@given(seed=st.integers(0, 1 << 32), start=st.sampled_from([data for _, data in seeds()]))
def test_any_damage_ends_in_one_way(seed: int, start: bytes, target: Target) -> None:
    rng = random.Random(seed)
    target.read(damaged(another_value(damaged(start, rng), rng), rng))


@quietly
@given(
    stored=st.binary(min_size=SECTION.size * 2, max_size=SECTION.size * 2),
    bits=st.integers(1, 16),
    signed=st.booleans(),
    slope=st.floats(-1e6, 1e6),
    intercept=st.floats(-1e6, 1e6),
)
def test_any_pixels_end_in_one_way(
    stored: bytes, bits: int, signed: bool, slope: float, intercept: float, target: Target
) -> None:
    dataset = section(BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(signed))
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.9g}", f"{intercept:.9g}"
    dataset.PixelData = stored
    target.read(encoded(dataset))


@settings(quietly, max_examples=25)
@given(data=st.lists(headers(), min_size=2, max_size=3), seed=st.integers(0, 1 << 32))
def test_the_order_of_arrival_changes_no_reason_and_no_sentence(
    data: list[bytes], seed: int, tmp_path: Path
) -> None:
    folder = tmp_path / f"{random.getrandbits(64):x}"
    good = write_volume(folder, chest(24, 16), spacing=(5.0, 24.0, 24.0))
    for number, one in enumerate(data):
        good[3 * number].write_bytes(with_value(one, 0x00080018, b"1.2.3.4.%d" % (3 * number + 1)))
    slices = []
    for path in good:
        with contextlib.suppress(NotDicom, Unreadable):
            slices.append(read_slice(path, PLAN))
    found = assess(slices, GRID, POLICY)
    random.Random(seed).shuffle(slices)
    again = assess(slices, GRID, POLICY)
    assert again.problem == found.problem
    assert again.geometry == found.geometry


@quietly
@given(name=st.text(st.characters(min_codepoint=65, max_codepoint=90), min_size=6, max_size=12))
def test_no_sentence_quotes_the_patient(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    for values in ({"Rows": 3}, {"RescaleSlope": None}, {"SeriesInstanceUID": None}):
        dataset = ct(SECTION, PatientName=f"{name}^{name}", PatientID=name, **values)
        path.write_bytes(encoded(dataset))
        try:
            problem = read_slice(path, PLAN).problem
        except Unreadable as unreadable:
            problem = unreadable.problem
        assert problem is not None
        assert name not in problem.detail
