"""One file to one slice."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from synthetic import ct, save

from appliance.imaging.slices import NotDicom, Unreadable, read_slice
from appliance.reasons import Reason
from appliance.records import Arrival, FileIdentity, SlicePlan

PLAN = SlicePlan((4.0, 4.0), (32, 32))
HU = np.random.default_rng(8).integers(-1024, 1500, (40, 48))


def test_a_slice_holds_what_the_pixels_are(tmp_path: Path) -> None:
    path = save(ct(HU), tmp_path / "a.dcm")
    found = read_slice(path, SlicePlan((4.0, 4.0), (32, 32), keep_native=True))
    assert found.arrival == Arrival(path, FileIdentity.of(path.stat()))
    assert found.problem is None
    assert (found.hu_min, found.hu_max, found.hu_sum) == (HU.min(), HU.max(), HU.sum())
    assert found.native is not None
    np.testing.assert_array_equal(found.native, HU)
    assert found.plane is not None
    np.testing.assert_allclose(found.plane, HU.reshape(20, 2, 24, 2).mean((1, 3)), atol=1e-3)
    assert found.parse_ms > 0


def test_native_pixels_are_kept_on_request_alone(tmp_path: Path) -> None:
    assert read_slice(save(ct(HU), tmp_path / "a.dcm"), PLAN).native is None


def test_without_pixels_only_the_header_is_read(tmp_path: Path) -> None:
    path = save(ct(HU), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-1000])
    found = read_slice(path, SlicePlan((4.0, 4.0), (32, 32), pixels=False))
    assert found.header.series_uid == "1.2.3.4"
    assert found.problem is None
    assert found.plane is None


def test_a_link_in_the_place_of_a_file_is_followed_where_that_is_wanted_alone(tmp_path: Path) -> None:
    link = tmp_path / "link.dcm"
    link.symlink_to(save(ct(HU), tmp_path / "a.dcm"))
    assert read_slice(link, PLAN).header.series_uid == "1.2.3.4"
    with pytest.raises(FileNotFoundError):
        read_slice(link, replace(PLAN, follow_links=False))
    assert read_slice(tmp_path / "a.dcm", replace(PLAN, follow_links=False)).plane is not None


def test_the_content_is_known_by_pixels_and_by_what_a_reading_uses(tmp_path: Path) -> None:
    def content(hu: np.ndarray = HU, **values: object) -> str:
        return read_slice(save(ct(hu, **values), tmp_path / "a.dcm"), PLAN).content_sha256

    plain = content()
    assert plain == content(StudyDescription="not used")
    assert plain != content(hu=HU + (np.indices(HU.shape).sum(0) == 0))
    for values in ({"KVP": "100"}, {"ConvolutionKernel": "B70f"}, {"RescaleIntercept": "-1000"}):
        assert plain != content(**values)
    assert len(plain) == hashlib.sha256().digest_size * 2


def test_statistics_are_before_padding_is_replaced_and_planes_after(tmp_path: Path) -> None:
    hu = np.full((40, 48), 100)
    hu[:20] = -2000
    dataset = ct(hu, PixelRepresentation=1, BitsStored=16, HighBit=15, PixelPaddingValue=-2000 + 1024)
    found = read_slice(save(dataset, tmp_path / "a.dcm"), PLAN)
    assert (found.hu_min, found.hu_sum) == (-2000, hu.sum())
    assert found.plane is not None
    assert set(np.unique(found.plane)) == {-1024, 100}


@pytest.mark.parametrize(("limit", "kept"), [(None, {-1024, -1000, 100}), (-900, {-1024, 100})])
def test_padding_is_a_value_or_a_closed_range(limit: int | None, kept: set[int], tmp_path: Path) -> None:
    hu = np.full((40, 48), 100)
    hu[:10] = -950
    hu[10:20] = -1000
    values = {"PixelPaddingRangeLimit": -1000 + 1024} if limit else {}
    dataset = ct(hu, PixelPaddingValue=-950 + 1024, **values)
    found = read_slice(save(dataset, tmp_path / "a.dcm"), PLAN)
    assert found.plane is not None
    assert set(np.unique(found.plane)) == kept


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("PixelData", None, Reason.NO_PIXELS),
        ("RescaleSlope", None, Reason.MISSING_RESCALE),
        ("NumberOfFrames", "4", Reason.UNSUPPORTED_SYNTAX),
        ("Rows", 39, Reason.DAMAGED_PIXELS),
    ],
)
def test_a_header_without_usable_pixels_is_a_slice_with_a_problem(
    keyword: str, value: object, reason: Reason, tmp_path: Path
) -> None:
    dataset = ct(HU)
    if value is None:
        delattr(dataset, keyword)
    else:
        setattr(dataset, keyword, value)
    found = read_slice(save(dataset, tmp_path / "a.dcm"), PLAN)
    assert found.problem is not None
    assert found.problem.reason is reason
    assert found.plane is None
    assert found.header.series_uid == "1.2.3.4"


@pytest.mark.parametrize(("spacing", "possible"), [(99999999.0, False), (64.0, False), (60.0, True)])
def test_a_slice_larger_than_any_scanners_takes_no_memory(
    spacing: float, possible: bool, tmp_path: Path
) -> None:
    found = read_slice(save(ct(HU, spacing=(1.0, spacing)), tmp_path / "a.dcm"), PLAN)
    assert (found.plane is not None) is possible
    assert (found.problem is None) is possible
    if found.problem is not None:
        assert found.problem.reason is Reason.MIXED_SIZE
        assert f"40 × {48 * spacing:g} mm" in found.problem.detail


def test_enhanced_ct_is_named(tmp_path: Path) -> None:
    dataset = ct(HU, NumberOfFrames="4", SOPClassUID=pydicom.uid.EnhancedCTImageStorage)
    found = read_slice(save(dataset, tmp_path / "a.dcm"), PLAN)
    assert found.problem is not None
    assert "Enhanced (multi-frame) CT" in found.problem.detail


def test_a_picture_in_colour_is_no_crash(tmp_path: Path) -> None:
    dataset = ct(
        HU, SamplesPerPixel=3, PhotometricInterpretation="RGB", BitsAllocated=8, BitsStored=8, HighBit=7
    )
    dataset.PlanarConfiguration = 0
    dataset.PixelData = bytes(HU.size * 3)
    found = read_slice(save(dataset, tmp_path / "a.dcm"), PLAN)
    assert found.problem is not None
    assert (found.header.samples_per_pixel, found.header.photometric) == (3, "RGB")


def test_what_is_no_dicom_and_what_claims_to_be(tmp_path: Path) -> None:
    for name, content, expected in [
        ("notes.txt", b"some notes", NotDicom),
        ("empty", b"", NotDicom),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(200), NotDicom),
        ("empty.dcm", b"", Unreadable),
        ("notes.dcm", b"some notes that somebody called an image", Unreadable),
        ("IM1", b"\0" * 128 + b"DICM", Unreadable),
        ("IM2", b"\0" * 128 + b"DICM" + bytes(500), Unreadable),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(expected):
            read_slice(path, PLAN)


@pytest.mark.parametrize("end", range(140, 1000, 43))
def test_a_file_cut_anywhere_in_its_header_is_no_crash(end: int, tmp_path: Path) -> None:
    whole = save(ct(HU), tmp_path / "whole").read_bytes()
    path = tmp_path / "cut.dcm"
    path.write_bytes(whole[:end])
    try:
        problem = read_slice(path, PLAN).problem
    except Unreadable as unreadable:
        problem = unreadable.problem
    assert problem is not None


def test_neither_a_pipe_nor_a_folder_holds_up_a_worker(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.dcm"
    os.mkfifo(pipe)
    with pytest.raises(NotDicom):
        read_slice(pipe, PLAN)
    with pytest.raises((NotDicom, IsADirectoryError)):
        read_slice(tmp_path, PLAN)
    with pytest.raises(FileNotFoundError):
        read_slice(tmp_path / "gone.dcm", PLAN)


def test_a_transposed_image_has_the_models_spacing_along_the_patients_axes(tmp_path: Path) -> None:
    plan = SlicePlan((4.0, 2.0), (32, 33))
    dataset = ct(HU, orientation=(0.0, 1.0, 0.0, 1.0, 0.0, 0.0))
    found = read_slice(save(dataset, tmp_path / "a.dcm"), plan)
    assert found.plane is not None
    assert found.plane.shape == (41, 24)
