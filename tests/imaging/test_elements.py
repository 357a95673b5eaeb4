"""The walker and pydicom give the same header, whatever the file."""

from __future__ import annotations

import io
import random
import traceback
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from synthetic import ct, save

from appliance.imaging import header
from appliance.imaging.elements import Unusual, read_by_pydicom, read_usual
from appliance.imaging.header import Instance, NotDicom, Unreadable, instance, read_header

pytestmark = pytest.mark.filterwarnings("ignore")

ZEROS = np.zeros((4, 6), int)


def seen(found: Instance) -> tuple[object, ...]:
    place = found.pixels and (found.pixels.name, found.pixels.offset, found.pixels.length)
    return found.header, found.origin, found.high_bit, place


def rich(syntax: str = pydicom.uid.ExplicitVRLittleEndian) -> bytes:
    """A header with what makes walking hard: nested sequences of undefined length and private blocks."""
    dataset = ct(ZEROS, syntax=syntax, NumberOfFrames="1", PixelPaddingValue=0, KVP="110.5")
    inner, outer = Dataset(), Dataset()
    inner.CodeValue = "1"
    outer.CodeMeaning = "x"
    outer.PurposeOfReferenceCodeSequence = [inner]
    dataset.ReferencedImageSequence = [outer, inner]
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.private_block(0x0025, "GEMS_SERS_01", create=True).add_new(7, "SL", 40)
    dataset.private_block(0x07A1, "ELSCINT1", create=True).add_new(2, "UL", 41)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def by_pydicom(data: bytes) -> object:
    try:
        return seen(instance(read_by_pydicom(io.BytesIO(data))))
    except (NotDicom, Unreadable) as error:
        return type(error)
    except Exception as error:
        # A character set that Python does not know is no reason not to read an image.
        frames = traceback.extract_tb(error.__traceback__)
        return None if any("charset" in frame.filename for frame in frames) else Unreadable


def by_us(data: bytes) -> object:
    try:
        return seen(read_header(io.BytesIO(data)))
    except (NotDicom, Unreadable) as error:
        return type(error)


@pytest.mark.parametrize(
    "syntax",
    [pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian],
    ids=["explicit", "implicit"],
)
def test_the_walker_reads_what_pydicom_reads(syntax: str) -> None:
    data = rich(syntax)
    walked = instance(read_usual(io.BytesIO(data), header._USED, header._COUNT_GROUPS))
    assert seen(walked) == by_pydicom(data)
    assert walked.header.images_in_series == 40
    assert walked.header.kvp == 110.5
    assert walked.pixels is not None
    assert data[walked.pixels.offset :][: walked.pixels.length] == (ZEROS + 1024).astype("<u2").tobytes()


@pytest.mark.parametrize(
    "name",
    ["covid-P001", "cap-001", "normal-001", "ge-tilt-variable-spacing", "philips-tilt", "philips-localizers"],
)
def test_the_walker_reads_real_scans_as_pydicom_does(name: str, scan) -> None:
    for path in scan(name):
        with path.open("rb") as file:
            walked = instance(read_usual(file, header._USED, header._COUNT_GROUPS))
            file.seek(0)
            assert seen(walked) == seen(instance(read_by_pydicom(file)))


def test_a_deflated_file_is_read_by_both(tmp_path: Path) -> None:
    path = save(ct(ZEROS, syntax=pydicom.uid.DeflatedExplicitVRLittleEndian), tmp_path / "a.dcm")
    data = path.read_bytes()
    walked = instance(read_usual(io.BytesIO(data), header._USED))
    parsed = instance(read_by_pydicom(io.BytesIO(data)))
    assert seen(walked) == seen(parsed)
    for found in (walked, parsed):
        assert found.pixels is not None
        found.pixels.source.seek(found.pixels.offset)
        assert found.pixels.source.read(found.pixels.length) == (ZEROS + 1024).astype("<u2").tobytes()


@pytest.mark.parametrize(
    "syntax", [pydicom.uid.ExplicitVRBigEndian, "1.2.840.113619.5.2"], ids=["big", "ge-private"]
)
def test_unusual_syntaxes_are_left_to_pydicom(syntax: str) -> None:
    dataset = ct(ZEROS, syntax=pydicom.uid.ExplicitVRBigEndian)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    data = file.getvalue()
    if syntax != pydicom.uid.ExplicitVRBigEndian:
        data = rich().replace(b"1.2.840.10008.1.2.1\0", syntax.encode().ljust(20, b"\0"))
    with pytest.raises(Unusual):
        read_usual(io.BytesIO(data), header._USED)
    assert by_us(data) == by_pydicom(data)


def test_no_preamble_is_read(tmp_path: Path) -> None:
    data = rich()[132:]
    assert by_us(data) == by_pydicom(data)
    assert read_header(io.BytesIO(data)).header.series_uid == "1.2.3.4"


def test_other_characters_than_ascii_are_read() -> None:
    found = read_header(io.BytesIO(rich().replace(b"B30f", "B3ö ".encode("latin-1"))))
    assert found.header.kernel == "B3ö"


def damaged(data: bytes, end: int, rng: random.Random) -> bytes:
    """Bytes changed, cut off, taken out or put in, before the pixels."""
    work = bytearray(data)
    kind = rng.random()
    at = rng.randrange(132, end)
    if kind < 0.6:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            work[rng.randrange(128, end)] = rng.choice((rng.randrange(256), 0, 255, 32, work[at]))
    elif kind < 0.75:
        del work[at:]
    elif kind < 0.9:
        del work[at : at + rng.randrange(1, 16)]
    else:
        work[at:at] = rng.randbytes(rng.randrange(1, 16))
    return bytes(work)


def disagreements(seeds: list[bytes], count: int, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    ends = [place.offset for data in seeds if (place := read_header(io.BytesIO(data)).pixels)]
    found = []
    for _ in range(count):
        index = rng.randrange(len(seeds))
        data = damaged(seeds[index], ends[index], rng)
        expected = by_pydicom(data)
        if expected is not None and by_us(data) != expected:
            found.append(data)
    return found


def test_damaged_headers_mean_the_same_to_both() -> None:
    seeds = [rich(pydicom.uid.ExplicitVRLittleEndian), rich(pydicom.uid.ImplicitVRLittleEndian)]
    assert disagreements(seeds, 2000, seed=20260101) == []


@pytest.mark.slow
def test_damaged_headers_of_real_scans_mean_the_same_to_both(scan) -> None:
    seeds = []
    for name in ("covid-P001", "philips-tilt", "ge-tilt-variable-spacing", "philips-localizers"):
        data = scan(name)[0].read_bytes()
        place = read_header(io.BytesIO(data)).pixels
        assert place is not None
        seeds.append(data[: place.offset + 64])
    assert disagreements(seeds, 6000, seed=20260102) == []
