"""What a header says, and what it does not."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pydicom
import pytest
from synthetic import ct

from appliance.imaging.header import Instance, NotDicom, Unreadable, claims_to_be_dicom, read_header
from appliance.reasons import Reason
from appliance.records import Origin


def parse(**values: Any) -> Instance:
    file = io.BytesIO()
    ct(np.zeros((4, 6), int), **values).save_as(file, enforce_file_format=True)
    file.seek(0)
    return read_header(file)


def test_what_people_tell_a_series_by_is_no_part_of_the_header() -> None:
    known = parse(
        StationName="Säule 1", SpecificCharacterSet="ISO_IR 100", AccessionNumber="A-12", SeriesNumber=3
    )
    assert known.origin == Origin("Säule 1", "A-12", 3)
    assert known.header == parse().header
    assert parse(StationName=None, AccessionNumber=None, SeriesNumber="").origin == Origin()


def test_a_header_holds_what_a_reading_uses() -> None:
    header, pixels, high_bit, _ = parse(position=(-10.5, 2, 100.25), spacing=(0.75, 0.5))
    assert (header.series_uid, header.study_uid, header.sop_instance_uid) == ("1.2.3.4", "1.2.3", "1.2.3.1")
    assert header.sop_class_uid == pydicom.uid.CTImageStorage
    assert header.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert (header.rows, header.columns, header.frames) == (4, 6, 1)
    assert (header.bits_allocated, header.bits_stored, high_bit, header.signed) == (16, 12, 11, False)
    assert header.position == (-10.5, 2, 100.25)
    assert header.orientation == (1, 0, 0, 0, 1, 0)
    assert header.pixel_spacing == (0.75, 0.5)
    assert header.rescale == (1, -1024)
    assert (header.kvp, header.kernel, header.acquisition) == (120, "B30f", 1)
    assert header.has_pixels
    assert pixels is not None


def test_absent_and_empty_are_none() -> None:
    header = parse(
        KVP=None, ConvolutionKernel="", AcquisitionNumber=None, ImagePositionPatient=None, PixelSpacing=None
    ).header
    assert (header.kvp, header.kernel, header.acquisition, header.position, header.pixel_spacing) == (
        None,
    ) * 5
    assert header.contrast is None
    assert header.images_in_series is None
    assert header.padding is None


@pytest.mark.parametrize(
    ("agent", "contrast"),
    [
        ("OMNIPAQUE 350", True),
        ("Ultravist", True),
        ("APPLIED", True),
        ("NATRIUM", True),
        ("none", False),
        ("No", False),
        ("NO CONTRAST", False),
        ("W/O CONTRAST", False),
        ("nativ", False),
        ("", None),
    ],
)
def test_contrast_is_what_the_agent_says(agent: str, contrast: bool | None) -> None:
    assert parse(ContrastBolusAgent=agent).header.contrast is contrast


@pytest.mark.parametrize(
    ("age", "years"), [("046Y", 46), ("018M", 1.5), ("002W", 14 / 365.25), ("010D", 10 / 365.25)]
)
def test_age_has_units(age: str, years: float) -> None:
    found = parse(PatientAge=age).header.age_years
    assert found is not None
    assert math.isclose(found, years)


def test_without_an_age_it_is_the_time_since_birth() -> None:
    found = parse(PatientAge=None).header.age_years
    assert found == pytest.approx(46.0, abs=0.01)
    assert parse(PatientAge=None, PatientBirthDate=None).header.age_years is None


@pytest.mark.parametrize(
    ("signed", "vr", "value", "limit", "expected"),
    [
        (0, "US", 0, None, (0, 0)),
        (1, "SS", -2000, None, (-2000, -2000)),
        (1, "US", 63536, None, (-2000, -2000)),
        (0, "SS", -2000, None, (63536, 63536)),
        (1, "SS", -2000, -1500, (-2000, -1500)),
        (0, "US", 65535, 65000, (65000, 65535)),
    ],
)
def test_padding_is_signed_as_the_pixels_are(
    signed: int, vr: str, value: int, limit: int | None, expected: tuple[int, int]
) -> None:
    dataset = ct(np.zeros((4, 6), int), PixelRepresentation=signed)
    dataset.add_new("PixelPaddingValue", vr, value)
    if limit is not None:
        dataset.add_new("PixelPaddingRangeLimit", vr, limit)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    assert read_header(file).header.padding == expected


@pytest.mark.parametrize(
    "values",
    [{"RescaleSlope": None}, {"RescaleIntercept": None}, {"RescaleSlope": "0"}, {"RescaleType": "MGML"}],
)
def test_what_gives_no_hounsfield_units_is_no_rescale(values: dict[str, Any]) -> None:
    assert parse(**values).header.rescale is None
    assert parse(RescaleType="HU").header.rescale == (1, -1024)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 1, 0, 0), (2, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 0)])
def test_an_orientation_that_is_none_is_absent(orientation: tuple[int, ...]) -> None:
    assert parse(orientation=orientation).header.orientation is None


def test_the_patient_is_told_apart_and_not_told() -> None:
    first, same, other = parse(), parse(), parse(PatientID="T-2")
    assert first.header.patient == same.header.patient != other.header.patient
    assert parse(PatientBirthDate="19800103").header.patient != first.header.patient
    assert "T-1" not in repr(first.header)
    assert "Nobody" not in repr(first.header)


@pytest.mark.parametrize(
    ("group", "creator", "element", "vr", "count"),
    [(0x0025, "GEMS_SERS_01", 7, "SL", 40), (0x07A1, "ELSCINT1", 2, "UL", 41)],
)
def test_a_private_count_needs_its_creator(
    group: int, creator: str, element: int, vr: str, count: int
) -> None:
    for name, expected in ((creator, count), ("SOMEBODY ELSE", None)):
        dataset = ct(np.zeros((4, 6), int))
        dataset.private_block(group, "SOMEBODY", create=True).add_new(element, vr, 7)
        dataset.private_block(group, name, create=True).add_new(element, vr, count)
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        file.seek(0)
        assert read_header(file).header.images_in_series == expected


def test_the_acquisitions_count_is_not_the_series_count() -> None:
    assert parse(ImagesInAcquisition=60).header.images_in_series is None


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID"])
def test_without_identity_a_file_is_unreadable(keyword: str) -> None:
    data = io.BytesIO()
    dataset = ct(np.zeros((4, 6), int))
    delattr(dataset, keyword)
    pydicom.dcmwrite(data, dataset)
    data.seek(0)
    with pytest.raises(Unreadable, match="carries no UID") as caught:
        read_header(data)
    assert caught.value.problem.reason is Reason.UNREADABLE


def test_a_dicomdir_is_no_instance() -> None:
    dataset = ct(np.zeros((4, 6), int))
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset)
    file.seek(0)
    with pytest.raises(NotDicom):
        read_header(file)


@pytest.mark.parametrize(
    ("name", "start", "claims"),
    [
        ("a", b"\0" * 128 + b"DICM", True),
        ("a.DCM", b"", True),
        ("IM0001.ima", b"", True),
        ("report.pdf", b"%PDF-1.7 and more", False),
        ("notes.txt", b"# Some notes\n", False),
        ("a", b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", True),
        ("a", b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100", True),
        ("a", b"\x02\x00\x00\x00UL\x04\x00", True),
        ("a", b"\x08\x00", False),
    ],
)
def test_what_claims_to_be_dicom(name: str, start: bytes, claims: bool) -> None:
    assert claims_to_be_dicom(name, start) is claims


def test_garbage_that_claims_to_be_dicom_is_unreadable_without_a_word_of_it() -> None:
    with pytest.raises(Unreadable) as caught:
        read_header(io.BytesIO(b"\0" * 128 + b"DICM" + b"Nobody^Test " * 40))
    assert "Nobody" not in str(caught.value)
