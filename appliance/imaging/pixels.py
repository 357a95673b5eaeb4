"""From encoded Pixel Data to Hounsfield units, for one monochrome frame.

Decoders return a picture for many a damaged stream without a word, so a stream is first checked: that it is
whole, and that its own size is the one that the header names.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

from appliance.imaging.elements import UNDEFINED_LENGTH, PixelElement
from appliance.imaging.header import Instance
from appliance.reasons import Reason
from appliance.records import Header, Int16, Problem

Integers = npt.NDArray[np.integer[Any]]
Float64 = npt.NDArray[np.float64]

_NATIVE: Final = frozenset(
    (
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
        "1.2.840.10008.1.2.1.98",  # Encapsulated Uncompressed Explicit VR Little Endian
    )
)
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_INT16 = np.iinfo(np.int16)
_LARGEST_FIELD_MM: Final = 3000.0
"""No scanner sees further, and a slice on the model's spacing takes memory for what its header says."""


class PixelsRefused(Exception):
    """The pixels cannot be used; `problem` says why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(reason, detail)


class Hounsfield(NamedTuple):
    """`values` [rows, columns] in HU, rounded half to even: int16, or float64 where they do not fit."""

    values: Int16 | Float64
    minimum: float
    maximum: float

    @property
    def native(self) -> Int16 | None:
        return cast(Int16, self.values) if self.values.dtype == np.int16 else None


def check(instance: Instance) -> PixelElement:
    """The pixel element of an instance whose pixels can mean Hounsfield units; raises PixelsRefused."""
    header, pixels = instance.header, instance.pixels
    unsupported = _unsupported(instance)
    if pixels is None:
        raise PixelsRefused(Reason.NO_PIXELS, "The object carries no Pixel Data: export it again.")
    if unsupported:
        raise PixelsRefused(Reason.UNSUPPORTED_SYNTAX, unsupported)
    if header.rows < 1 or header.columns < 1:
        raise PixelsRefused(Reason.DAMAGED_PIXELS, "The header names no rows or columns: export it again.")
    if header.rescale is None:
        raise PixelsRefused(
            Reason.MISSING_RESCALE,
            "The header has no Rescale Slope and Intercept to HU, so that densities are unknown: export the"
            " original images, not a converted copy.",
        )
    if header.pixel_spacing is None:
        raise PixelsRefused(
            Reason.MIXED_SIZE,
            "The header has no possible Pixel Spacing, so that sizes are unknown: export original images.",
        )
    return pixels


def check_field(header: Header) -> None:
    """Raises PixelsRefused where an image is larger than any scanner's."""
    assert header.pixel_spacing is not None
    height, width = header.rows * header.pixel_spacing[0], header.columns * header.pixel_spacing[1]
    if max(height, width) > _LARGEST_FIELD_MM:
        raise PixelsRefused(
            Reason.MIXED_SIZE,
            f"By its Pixel Spacing the image is {height:g} × {width:g} mm large, with at most"
            f" {_LARGEST_FIELD_MM:g} mm possible: export original images.",
        )


def _unsupported(instance: Instance) -> str | None:
    header, pixels, high_bit = instance.header, instance.pixels, instance.high_bit
    if header.frames > 1:
        return (
            f"An Enhanced (multi-frame) CT object of {header.frames} frames is not read: export the series as"
            " classic CT Image Storage, one file a slice."
        )
    if header.samples_per_pixel != 1:
        return f"{header.samples_per_pixel} samples per pixel are not read: export the grey original."
    if pixels is not None and pixels.name != "Pixel Data":
        return f"{pixels.name} is not read: export the series with integer Pixel Data."
    if header.bits_allocated not in (8, 16, 32) or not 0 < header.bits_stored <= header.bits_allocated:
        return (
            f"{header.bits_stored} bits stored in {header.bits_allocated} are not read: export the original,"
            " of 16 bits."
        )
    if high_bit != header.bits_stored - 1:
        return f"High Bit {high_bit} with {header.bits_stored} bits stored is not read: export the original."
    return None


def read_encoded(pixels: PixelElement, header: Header, into: Int16 | None = None) -> npt.NDArray[np.uint8]:
    """The bytes of the one frame as stored, read into `into` where that has their size.

    Raises PixelsRefused (damaged_pixels) when there are fewer or more than the header asks for, or when
    fragments, their delimiter or the file's end are not where they must be (PS3.5 A.4).
    """
    pixels.source.seek(pixels.offset)
    if pixels.length == UNDEFINED_LENGTH:
        return np.frombuffer(_frame(pixels.source.read()), np.uint8)
    if header.transfer_syntax not in _NATIVE:
        raise _damaged("are compressed, but not encapsulated")
    expected = header.rows * header.columns * header.bits_allocated // 8
    if pixels.length not in (expected, expected + expected % 2):
        raise _damaged(f"have {pixels.length} bytes where {header.rows} × {header.columns} need {expected}")
    left = pixels.source.seek(0, io.SEEK_END) - pixels.offset
    if left < expected:
        raise _damaged(f"end after {left} of {expected} bytes")
    pixels.source.seek(pixels.offset)
    if into is not None and into.nbytes == expected:
        buffer = into.reshape(-1).view(np.uint8)
    else:
        buffer = np.empty(expected, np.uint8)
    if pixels.source.readinto(buffer) != expected:  # type: ignore[attr-defined]
        raise _damaged("could not be read to their end")
    return buffer


def _frame(data: bytes) -> bytes:
    """The fragments of the only frame, joined; the first item is the offset table (PS3.5 A.4)."""
    fragments: list[bytes] = []
    position = 0
    while position + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHL", data, position)
        position += 8
        if group << 16 | element == _SEQUENCE_END and length == 0:
            if len(fragments) < 2:
                raise _damaged("hold no fragment")
            return b"".join(fragments[1:])
        if group << 16 | element != _ITEM or length > len(data) - position:
            break
        fragments.append(data[position : position + length])
        position += length
    raise _damaged("end without their sequence delimiter")


def decode(header: Header, encoded: npt.NDArray[np.uint8]) -> Integers:
    """Stored values [rows, columns] of one frame, native ones without a copy.

    Raises PixelsRefused: unsupported_syntax where no decoder is installed, damaged_pixels where the stream is
    not whole, of another size than the header's, or refused by its decoder.
    """
    syntax = header.transfer_syntax
    shape = (header.rows, header.columns)
    dtype = np.dtype(f"{'i' if header.signed else 'u'}{header.bits_allocated // 8}")
    if syntax in _NATIVE:
        if encoded.size < dtype.itemsize * shape[0] * shape[1]:
            raise _damaged("are fewer than the header names")
        stored = encoded[: dtype.itemsize * shape[0] * shape[1]].view(dtype).reshape(shape)
        decoded = stored.byteswap(inplace=True) if syntax == uid.ExplicitVRBigEndian else stored
        return _significant(decoded, header)
    codec = _CODECS.get(syntax)
    if codec is None:
        return _significant(_by_pydicom(header, encoded.tobytes()), header)
    data = encoded.tobytes()
    if codec.measure is not None:
        measured = codec.measure(data)
        if measured != (*shape, 1):
            found, named = (" × ".join(map(str, size)) for size in (measured, (*shape, 1)))
            raise _damaged(f"are a stream of {found}, not {named}")
        if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise _damaged("end without the end marker of their stream")
    try:
        stored = codec.decode(data, header)
    except MemoryError:
        raise
    except Exception as error:  # each codec has exceptions of its own
        raise _damaged(f"were refused by their decoder ({type(error).__name__})") from error
    if stored.shape != shape:
        raise _damaged(f"decode to {stored.shape}, not {shape}")
    return _significant(stored.astype(dtype.str.replace("i", "u"), copy=False).view(dtype), header)


def _significant(stored: Integers, header: Header) -> Integers:
    """Values of Bits Stored bits: what lies above them is not part of the image (PS3.5 8.1.1)."""
    unused = stored.dtype.itemsize * 8 - header.bits_stored
    low, high = int(stored.min()), int(stored.max())
    bottom = -(1 << header.bits_stored - 1) if header.signed else 0
    if bottom <= low and high < bottom + (1 << header.bits_stored):
        return stored
    shifted: Integers = np.right_shift(np.left_shift(stored, unused), unused)
    return shifted


def hounsfield(header: Header, stored: Integers, into: Int16 | None = None) -> Hounsfield:
    """HU = slope × stored + intercept (PS3.3 C.11.1.1.2), rounded half to even.

    Native 16-bit values with slope 1 are changed in place; `into` [rows, columns] receives the result where
    it fits int16.
    """
    assert header.rescale is not None
    slope, intercept = header.rescale
    low, high = sorted((int(stored.min()) * slope + intercept, int(stored.max()) * slope + intercept))
    fits = low >= _INT16.min - 0.5 and high <= _INT16.max + 0.5
    offset = np.array(int(intercept) & 0xFFFF, np.uint16).view(np.int16) if intercept.is_integer() else None
    if fits and slope == 1 and offset is not None and stored.dtype.itemsize <= 2:
        words = stored.view(np.int16) if stored.dtype.itemsize == 2 else stored.astype(np.int16)
        in_place = words if words.flags.writeable else None
        # The sum fits, so that what wraps on the way to it wraps back.
        return Hounsfield(np.add(words, offset, out=in_place if into is None else into), low, high)
    exact = np.rint(stored * np.float64(slope) + intercept)
    low, high = float(exact.min()), float(exact.max())
    if low < _INT16.min or high > _INT16.max:
        return Hounsfield(exact, low, high)
    rounded = np.empty(stored.shape, np.int16) if into is None else into
    rounded[...] = exact
    return Hounsfield(rounded, low, high)


def _damaged(what: str) -> PixelsRefused:
    return PixelsRefused(Reason.DAMAGED_PIXELS, f"The pixels {what}: export the image again.")


def _jpeg_size(data: bytes) -> tuple[int, int, int]:
    """Lines, samples a line and components of the frame header (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2)."""
    position = 2 if data.startswith(b"\xff\xd8") else len(data)
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker, length = struct.unpack_from(">BH", data, position + 1)
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            return struct.unpack_from(">HHB", data, position + 5)
        position += 2 + length
    raise _damaged("hold no JPEG frame")


def _jpeg2000_size(data: bytes) -> tuple[int, int, int]:
    """Height, width and components of the SIZ segment (ISO/IEC 15444-1 A.5.1)."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or start + 42 > len(data):
        raise _damaged("hold no JPEG 2000 code stream")
    width, height, left, top = struct.unpack_from(">4L", data, start + 8)
    (components,) = struct.unpack_from(">H", data, start + 40)
    return height - top, width - left, components


def _rle(data: bytes, header: Header) -> Integers:
    dtype = np.dtype(f"<u{header.bits_allocated // 8}")
    decoded = imagecodecs.dicomrle_decode(data, dtype, out=dtype.itemsize * header.rows * header.columns)
    return np.frombuffer(decoded, dtype).reshape(header.rows, header.columns)


class _Codec(NamedTuple):
    decode: Callable[[bytes, Header], Integers]
    measure: Callable[[bytes], tuple[int, int, int]] | None


_JPEG = _Codec(lambda data, _: imagecodecs.jpeg8_decode(data), _jpeg_size)
_JPEG_LS = _Codec(lambda data, _: imagecodecs.jpegls_decode(data), _jpeg_size)
# OpenJPEG for high throughput too: OpenJPH returns a picture for a damaged stream.
_JPEG_2000 = _Codec(lambda data, _: imagecodecs.jpeg2k_decode(data, numthreads=1), _jpeg2000_size)
_RLE = _Codec(_rle, None)

_CODECS: Final[Mapping[str, _Codec]] = {
    uid.JPEGBaseline8Bit: _JPEG,
    uid.JPEGExtended12Bit: _JPEG,
    uid.JPEGLossless: _JPEG,
    uid.JPEGLosslessSV1: _JPEG,
    uid.JPEGLSLossless: _JPEG_LS,
    uid.JPEGLSNearLossless: _JPEG_LS,
    uid.JPEG2000Lossless: _JPEG_2000,
    uid.JPEG2000: _JPEG_2000,
    uid.HTJ2KLossless: _JPEG_2000,
    uid.HTJ2KLosslessRPCL: _JPEG_2000,
    uid.HTJ2K: _JPEG_2000,
    uid.RLELossless: _RLE,
}


def _by_pydicom(header: Header, data: bytes) -> Integers:
    """By a plugin of pydicom's, where one is installed for the transfer syntax."""
    try:
        decoder = get_decoder(header.transfer_syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        name = uid.UID(header.transfer_syntax).name
        raise PixelsRefused(
            Reason.UNSUPPORTED_SYNTAX,
            f"The pixels are stored as {name}, which cannot be decoded here: export the series uncompressed"
            " or as JPEG Lossless.",
        )
    options: Any = {
        "rows": header.rows,
        "columns": header.columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": header.photometric,
        "bits_allocated": header.bits_allocated,
        "bits_stored": header.bits_stored,
        "pixel_representation": int(header.signed),
        "number_of_frames": 1,
    }
    try:
        stored: Integers = decoder.as_array(data, **options)[0]
    except MemoryError:
        raise
    except Exception as error:  # each plugin has exceptions of its own
        raise _damaged(f"were refused by their decoder ({type(error).__name__})") from error
    return stored
