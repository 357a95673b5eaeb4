"""Every transfer syntax gives the same pixels, and what is damaged gives none."""

from __future__ import annotations

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from synthetic import ct

from appliance.imaging.header import Instance, read_header
from appliance.imaging.pixels import Hounsfield, PixelsRefused, check, decode, hounsfield, read_encoded
from appliance.reasons import Reason

uid = pydicom.uid
RNG = np.random.default_rng(5)
HU = RNG.integers(-1024, 1500, (24, 30))


def instance_of(dataset: pydicom.FileDataset) -> Instance:
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset)
    file.seek(0)
    return read_header(file)


def pixels_of(dataset: pydicom.FileDataset) -> Hounsfield:
    found = instance_of(dataset)
    encoded = read_encoded(check(found), found.header)
    return hounsfield(found.header, decode(found.header, encoded))


def refusal(dataset: pydicom.FileDataset) -> Reason:
    with pytest.raises(PixelsRefused) as caught:
        pixels_of(dataset)
    return caught.value.problem.reason


SYNTAXES = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
    uid.RLELossless,
]


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: uid.UID(syntax).keyword)
def test_a_syntax_gives_its_pixels(syntax: str, signed: bool) -> None:
    values: dict[str, Any] = {"PixelRepresentation": 1, "RescaleIntercept": "-3000"} if signed else {}
    values |= {"BitsStored": 16, "HighBit": 15}
    dataset = ct(HU, syntax=syntax, **values)
    found = pixels_of(dataset)
    expected = HU - 1976 if signed else HU
    assert found.native is not None
    np.testing.assert_array_equal(found.values, expected)
    assert (found.minimum, found.maximum) == (expected.min(), expected.max())


def test_negative_values_of_twelve_bits_keep_their_sign() -> None:
    for syntax in (uid.ExplicitVRLittleEndian, uid.JPEGLosslessSV1):
        dataset = ct(HU - 1000, syntax=syntax, PixelRepresentation=1)
        np.testing.assert_array_equal(pixels_of(dataset).values, HU - 1000)


def test_bits_above_those_stored_are_no_part_of_the_image() -> None:
    dataset = ct(HU)
    stored = (HU + 1024).astype("<u2") | 0x8000
    dataset.PixelData = stored.tobytes()
    np.testing.assert_array_equal(pixels_of(dataset).values, HU)


@pytest.mark.parametrize(("bits", "kind"), [(8, "u1"), (32, "<u4")])
def test_other_widths_are_read(bits: int, kind: str) -> None:
    dataset = ct(HU)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    stored = RNG.integers(0, 255, HU.shape)
    dataset.PixelData = stored.astype(kind).tobytes()
    np.testing.assert_array_equal(pixels_of(dataset).values, stored - 1024)


def test_a_slope_is_rounded_half_to_even() -> None:
    dataset = ct(np.array([[-1024, -1023, -1022, -1021]]), RescaleSlope="0.5", RescaleIntercept="-1000")
    np.testing.assert_array_equal(pixels_of(dataset).values, [[-1000, -1000, -999, -998]])


def test_what_does_not_fit_int16_is_kept_as_it_is() -> None:
    dataset = ct(HU, RescaleSlope="100", RescaleIntercept="0")
    found = pixels_of(dataset)
    assert found.native is None
    np.testing.assert_array_equal(found.values, (HU + 1024) * 100.0)


def test_an_intercept_that_would_overflow_does_not() -> None:
    dataset = ct(HU, BitsStored=16, HighBit=15, RescaleIntercept="-30000")
    stored = RNG.integers(0, 62000, HU.shape)
    dataset.PixelData = stored.astype("<u2").tobytes()
    found = pixels_of(dataset)
    np.testing.assert_array_equal(found.values, stored - 30000)
    dataset.RescaleIntercept = "30000"
    assert pixels_of(dataset).native is None


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGLosslessSV1])
@pytest.mark.parametrize("change", [-1, 1, -200])
def test_another_length_than_the_headers_is_damage(syntax: str, change: int) -> None:
    dataset = ct(HU, syntax=syntax)
    dataset.Rows += change if change > -20 else 0
    dataset.Columns -= 2 if change < -20 else 0
    assert refusal(dataset) is Reason.DAMAGED_PIXELS


@pytest.mark.parametrize("syntax", SYNTAXES[1:2] + SYNTAXES[4:], ids=lambda syntax: uid.UID(syntax).keyword)
@pytest.mark.parametrize("part", [0.05, 0.5, 0.95, 0.995])
def test_a_file_cut_short_is_damage(syntax: str, part: float) -> None:
    file = io.BytesIO()
    pydicom.dcmwrite(file, ct(HU, syntax=syntax))
    whole = file.getvalue()
    place = read_header(io.BytesIO(whole)).pixels
    assert place is not None
    cut = io.BytesIO(whole[: place.offset + int(part * (len(whole) - place.offset))])
    found = read_header(cut)
    with pytest.raises(PixelsRefused) as caught:
        decode(found.header, read_encoded(check(found), found.header))
    assert caught.value.problem.reason is Reason.DAMAGED_PIXELS


@pytest.mark.parametrize("syntax", SYNTAXES[4:], ids=lambda syntax: uid.UID(syntax).keyword)
def test_a_stream_cut_short_in_whole_fragments_is_damage(syntax: str) -> None:
    dataset = ct(HU, syntax=syntax)
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([stream[: len(stream) // 2]])
    assert refusal(dataset) is Reason.DAMAGED_PIXELS


@pytest.mark.parametrize("syntax", SYNTAXES[6:9], ids=lambda syntax: uid.UID(syntax).keyword)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_stream_cut_short_with_its_end_put_back_is_damage(syntax: str, part: float) -> None:
    dataset = ct(HU, syntax=syntax)
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([stream[: int(part * len(stream))] + b"\xff\xd9"])
    assert refusal(dataset) is Reason.DAMAGED_PIXELS


def test_a_damaged_stream_of_high_throughput_is_refused_without_a_word_on_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    dataset = ct(HU, syntax=uid.HTJ2KLossless)
    stream = bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    stream[len(stream) // 2 : -10] = b"\xff" * len(stream[len(stream) // 2 : -10])
    dataset.PixelData = encapsulate([bytes(stream)])
    assert refusal(dataset) is Reason.DAMAGED_PIXELS
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("syntax", SYNTAXES[4:-1], ids=lambda syntax: uid.UID(syntax).keyword)
def test_a_stream_of_another_size_is_damage(syntax: str) -> None:
    dataset = ct(HU, syntax=syntax)
    dataset.Rows, dataset.Columns = 32767, 32767
    assert refusal(dataset) is Reason.DAMAGED_PIXELS


def test_a_falsified_size_is_seen_before_it_is_decoded() -> None:
    """The decoder would take memory for what the stream says."""
    dataset = ct(HU, syntax=uid.JPEGLosslessSV1)
    stream = bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    start = stream.index(b"\xff\xc3")
    stream[start + 5 : start + 9] = (32767).to_bytes(2, "big") * 2
    dataset.PixelData = encapsulate([bytes(stream)])
    with pytest.raises(PixelsRefused, match="32767 × 32767 × 1, not 24 × 30 × 1"):
        pixels_of(dataset)


def test_a_native_file_that_ends_early_takes_no_memory_for_what_is_not_there() -> None:
    dataset = ct(HU)
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset)
    found = read_header(io.BytesIO(file.getvalue()[:-100]))
    with pytest.raises(PixelsRefused, match="end after 1340 of 1440 bytes"):
        read_encoded(check(found), found.header)


def test_a_colour_stream_is_damage() -> None:
    dataset = ct(HU, syntax=uid.JPEGBaseline8Bit)
    dataset.PixelData = encapsulate([imagecodecs.jpeg8_encode(np.zeros((24, 30, 3), np.uint8))])
    dataset["PixelData"].is_undefined_length = True
    assert refusal(dataset) is Reason.DAMAGED_PIXELS


def test_a_stream_in_many_fragments_is_joined() -> None:
    dataset = ct(HU, syntax=uid.JPEGLosslessSV1)
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([stream], fragments_per_frame=3)
    np.testing.assert_array_equal(pixels_of(dataset).values, HU)


def test_native_pixels_in_items_are_damage_and_streams_outside_of_them_too() -> None:
    native = ct(HU)
    native.PixelData = encapsulate([native.PixelData])
    native["PixelData"].is_undefined_length = True
    native.file_meta.TransferSyntaxUID = uid.JPEGLosslessSV1
    assert refusal(native) is Reason.DAMAGED_PIXELS
    bare = io.BytesIO()
    pydicom.dcmwrite(bare, ct(HU))
    data = bare.getvalue().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    found = read_header(io.BytesIO(data))
    with pytest.raises(PixelsRefused, match="not encapsulated"):
        read_encoded(check(found), found.header)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"RescaleSlope": None}, Reason.MISSING_RESCALE),
        ({"NumberOfFrames": "5"}, Reason.UNSUPPORTED_SYNTAX),
        ({"SamplesPerPixel": 3}, Reason.UNSUPPORTED_SYNTAX),
        ({"HighBit": 15}, Reason.UNSUPPORTED_SYNTAX),
        ({"BitsStored": 17}, Reason.UNSUPPORTED_SYNTAX),
        ({"Rows": 0}, Reason.DAMAGED_PIXELS),
    ],
)
def test_headers_that_give_no_hounsfield_units(values: dict[str, Any], reason: Reason) -> None:
    dataset = ct(HU)
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    assert refusal(dataset) is reason


def test_a_syntax_without_decoder_is_named() -> None:
    dataset = ct(HU, syntax=uid.JPEGLosslessSV1)
    dataset.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    with pytest.raises(PixelsRefused, match="MPEG2 Main Profile") as caught:
        pixels_of(dataset)
    assert caught.value.problem.reason is Reason.UNSUPPORTED_SYNTAX


def test_float_pixels_are_named() -> None:
    dataset = ct(HU)
    del dataset.PixelData
    dataset.FloatPixelData = HU.astype("<f4").tobytes()
    with pytest.raises(PixelsRefused, match="Float Pixel Data is not read"):
        pixels_of(dataset)


def test_an_item_longer_than_the_file_is_damage() -> None:
    file = io.BytesIO()
    pydicom.dcmwrite(file, ct(HU, syntax=uid.JPEGLosslessSV1))
    whole = file.getvalue()
    start = whole.rindex(b"\xfe\xff\x00\xe0")
    data = whole[: start + 4] + struct.pack("<L", 0x7FFFFFF0) + whole[start + 8 :]
    found = read_header(io.BytesIO(data))
    with pytest.raises(PixelsRefused, match="sequence delimiter"):
        read_encoded(check(found), found.header)


@pytest.mark.parametrize("name", ["covid-P001", "ge-tilt-variable-spacing", "philips-tilt"])
def test_real_pixels_are_those_of_pydicom(name: str, scan) -> None:
    for path in scan(name)[::12]:
        dataset = pydicom.dcmread(path)
        with path.open("rb") as file:
            found = read_header(file)
            encoded = read_encoded(check(found), found.header)
        stored = decode(found.header, encoded)
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
            np.testing.assert_array_equal(stored, imagecodecs.ljpeg_decode(frame))
        else:
            np.testing.assert_array_equal(stored, dataset.pixel_array)
