"""A folder straight into one array."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from synthetic import chest, write_volume

from appliance.imaging.volume import NotAVolume, read_volume
from appliance.reasons import Reason

HU = chest(12, 32) + np.random.default_rng(0).integers(-20, 20, (12, 32, 32))
SYNTAXES = [
    pydicom.uid.ExplicitVRLittleEndian,
    pydicom.uid.ImplicitVRLittleEndian,
    pydicom.uid.ExplicitVRBigEndian,
    pydicom.uid.DeflatedExplicitVRLittleEndian,
    pydicom.uid.JPEGLosslessSV1,
    pydicom.uid.RLELossless,
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_a_volume_is_its_slices_in_order(syntax: str, threads: int, tmp_path: Path) -> None:
    paths = write_volume(tmp_path, HU, origin=(1.0, 2.0, 3.0), spacing=(2.5, 0.7, 0.8), syntax=syntax)
    found = read_volume(paths[::-1], threads)
    np.testing.assert_array_equal(found.hu, HU)
    assert found.spacing_mm == pytest.approx((2.5, 0.7, 0.8))
    assert found.origin_mm == pytest.approx((1, 2, 3))
    assert found.orientation == (1, 0, 0, 0, 1, 0)


def test_a_slope_is_applied(tmp_path: Path) -> None:
    paths = write_volume(tmp_path, HU, RescaleSlope="2", RescaleIntercept="-2048")
    np.testing.assert_array_equal(read_volume(paths).hu, 2 * HU)


def test_what_is_no_volume_is_told(tmp_path: Path) -> None:
    paths = write_volume(tmp_path, HU)
    for damage, reason in [
        (lambda data: data[:-10], Reason.DAMAGED_PIXELS),
        (lambda data: data.replace(b"2.0\\2.0", b"2.0\\3.0"), Reason.MIXED_SIZE),
    ]:
        whole = paths[3].read_bytes()
        changed = damage(whole)
        assert changed != whole
        paths[3].write_bytes(changed)
        with pytest.raises(NotAVolume) as caught:
            read_volume(paths)
        assert caught.value.problem.reason is reason
        paths[3].write_bytes(whole)


def test_values_beyond_int16_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotAVolume, match="16 bits"):
        read_volume(write_volume(tmp_path, HU, RescaleSlope="100"))


@pytest.mark.parametrize("name", ["covid-P001", "philips-tilt", "ge-tilt-variable-spacing"])
def test_real_scans_are_the_array_of_a_plain_pydicom_loop(
    name: str, scan: Callable[[str], list[Path]]
) -> None:
    paths = scan(name)
    datasets = sorted((pydicom.dcmread(path) for path in paths), key=lambda one: one.ImagePositionPatient[2])
    digest = hashlib.sha256()
    for one in datasets:
        stored = (
            one.pixel_array.astype(np.int16) if not one.file_meta.TransferSyntaxUID.is_compressed else None
        )
        if stored is None:
            imagecodecs = pytest.importorskip("imagecodecs")
            frame = next(pydicom.encaps.generate_frames(one.PixelData, number_of_frames=1))
            stored = imagecodecs.ljpeg_decode(frame).astype(np.int16)
        digest.update((stored * int(one.RescaleSlope) + int(one.RescaleIntercept)).astype("<i2").tobytes())
    assert hashlib.sha256(read_volume(paths).hu.tobytes()).hexdigest() == digest.hexdigest()
