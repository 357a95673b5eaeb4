"""The elements of a DICOM data set up to its pixels, by two routes that agree.

`walk` steps over the encoded elements (PS3.5 7.1) and keeps the bytes of the few that are wanted; it knows
little endian data sets as the standard describes them and raises `Unusual` for everything else, which is
then left to pydicom, the reference. A differential test feeds both with damaged headers.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Protocol, cast

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_partial
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

UNDEFINED_LENGTH: Final = 0xFFFFFFFF
PIXEL_ELEMENTS: Final[Mapping[int, str]] = {
    0x7FE00010: "Pixel Data",
    0x7FE00008: "Float Pixel Data",
    0x7FE00009: "Double Float Pixel Data",
}
TRANSFER_SYNTAX, MEDIA_SOP_CLASS = 0x00020010, 0x00020002

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SHORT: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_EXPLICIT, _IMPLICIT = struct.Struct("<HH2sH").unpack_from, struct.Struct("<HHL").unpack_from
_LENGTH = struct.Struct("<L").unpack_from
_MAX_DEPTH = 16
_HEAD = 1 << 16

_TEXT: Final = frozenset((b"AS", b"CS", b"DA", b"LO", b"PN", b"SH", b"UI", None))
_DECIMAL: Final = frozenset((b"DS", b"IS"))
_BINARY: Final[Mapping[bytes | None, struct.Struct]] = {
    b"US": struct.Struct("<H"),
    b"SS": struct.Struct("<h"),
    b"UL": struct.Struct("<L"),
    b"SL": struct.Struct("<l"),
}


class Unusual(Exception):
    """Left to pydicom."""


class _NeedsMore(Exception):
    """The data set goes on behind the bytes at hand."""


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The value of Pixel Data (PS3.3 C.7.6.3.1.4) or of its float siblings, as stored.

    It begins at `offset` in `source`, which is the file or, for a deflated one, the inflated data set;
    `length` is in bytes, or UNDEFINED_LENGTH where the pixels are encapsulated (PS3.5 A.4).
    """

    source: BinaryIO
    name: str
    offset: int
    length: int


class Values(Protocol):
    """The values of a data set. Absent, empty and impossible to convert are the same: nothing."""

    def texts(self, tag: int) -> tuple[str, ...]:
        """The components of a text value, without padding."""
        ...

    def numbers(self, tag: int) -> tuple[float, ...]:
        """The components of a number, however it is encoded."""
        ...

    def stored(self, tag: int) -> bytes:
        """The bytes of the value, without padding."""
        ...

    def private_number(self, group: int, creator: str, element: int) -> float | None:
        """The value of `element` in the block that `creator` reserved (PS3.5 7.8.1)."""
        ...


@dataclass(frozen=True, slots=True)
class DataSet:
    """What a file holds up to its pixels. `meta` are the values of group 0002."""

    meta: Values
    values: Values
    transfer_syntax: str
    pixels: PixelElement | None


def read_usual(file: BinaryIO, wanted: Container[int], groups: Container[int] = ()) -> DataSet:
    """The wanted elements, and all of the (private) groups, of a little endian DICOM file (PS3.10 7).

    Raises Unusual, or whatever converting raises, where pydicom must decide.
    """
    data = file.read(_HEAD)
    while True:
        try:
            return _usual(file, data, wanted, groups)
        except _NeedsMore:
            more = file.read()
            if not more:
                raise Unusual from None
            data += more


def _usual(file: BinaryIO, data: bytes, wanted: Container[int], groups: Container[int]) -> DataSet:
    if data[128:132] != b"DICM":
        raise Unusual
    meta, position, _ = walk(data, 132, wanted=(TRANSFER_SYNTAX, MEDIA_SOP_CLASS), only_group=2)
    meta_values = Encoded(meta)
    syntax = _one(meta_values.texts(TRANSFER_SYNTAX))
    source = file
    if syntax == DeflatedExplicitVRLittleEndian:
        data = zlib.decompress(data[position:] + file.read(), -zlib.MAX_WBITS)
        source, position = io.BytesIO(data), 0
    elif syntax == ExplicitVRBigEndian or UID(syntax).is_private:
        raise Unusual
    implicit = syntax == ImplicitVRLittleEndian
    if implicit and data[position + 4 : position + 6].isupper():
        raise Unusual
    elements, _, pixels = walk(data, position, wanted=wanted, groups=groups, implicit=implicit)
    place = PixelElement(source, *pixels) if pixels else None
    return DataSet(meta_values, Encoded(elements), syntax, place)


class _Within:
    """A file of which no more is asked for than there is: a falsified length would take that much memory."""

    def __init__(self, file: BinaryIO) -> None:
        at = file.tell()
        self._size = file.seek(0, io.SEEK_END)
        file.seek(at)
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))


def read_by_pydicom(file: BinaryIO) -> DataSet:
    """The same of any file that pydicom can parse, with or without preamble; raises what pydicom raises."""
    pixels: list[tuple[str, int, int]] = []

    def stop(tag: int, _vr: str | None, length: int) -> bool:
        if tag not in PIXEL_ELEMENTS:
            return False
        pixels.append((PIXEL_ELEMENTS[tag], file.tell(), length))
        return True

    dataset = read_partial(cast(BinaryIO, _Within(file)), stop_when=stop, force=True)
    implicit, little = dataset.original_encoding
    inferred = (
        ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    )
    meta = Parsed(dataset.file_meta)
    syntax = _one(meta.texts(TRANSFER_SYNTAX)) or inferred
    if not pixels:
        return DataSet(meta, Parsed(dataset), syntax, None)
    name, offset, length = pixels[0]
    source = file
    if syntax == DeflatedExplicitVRLittleEndian:
        # pydicom inflated into a buffer of its own and left it where the element begins (OB or OW).
        source = cast(BinaryIO, cast(DicomBytesIO, dataset.buffer).parent)
        offset = source.tell() + 12
    return DataSet(meta, Parsed(dataset), syntax, PixelElement(source, name, offset, length))


def walk(
    data: bytes,
    position: int,
    *,
    wanted: Container[int] = (),
    groups: Container[int] = (),
    implicit: bool = False,
    only_group: int | None = None,
) -> tuple[dict[int, tuple[bytes | None, bytes]], int, tuple[str, int, int] | None]:
    """Steps over a data set from `position` to its pixels, its end or the first of another group.

    Returns the (VR, value) of the wanted elements by tag, the position where it stopped, and name, offset
    and length of the pixels.
    """
    elements: dict[int, tuple[bytes | None, bytes]] = {}
    end = len(data)
    while position < end:
        if only_group is not None and int.from_bytes(data[position : position + 2], "little") != only_group:
            return elements, position, None
        tag, vr, begin, length = _element(data, position, implicit)
        if tag in PIXEL_ELEMENTS:
            return elements, position, (PIXEL_ELEMENTS[tag], begin, length)
        if length == UNDEFINED_LENGTH:
            position = _skip_sequence(data, begin, implicit, _is_sequence(tag, vr))
            continue
        position = begin + length
        if tag in wanted or tag >> 16 in groups:
            elements[tag] = vr, data[begin:position]
        elif tag < 0x00020000 or tag >= 0xFFFE0000:
            raise Unusual
    if position > end or only_group is not None:
        raise _NeedsMore
    return elements, position, None


def _element(data: bytes, position: int, implicit: bool) -> tuple[int, bytes | None, int, int]:
    """Tag, VR, offset of the value and its length (PS3.5 7.1.2 and 7.1.3)."""
    try:
        if implicit:
            group, element, length = _IMPLICIT(data, position)
            return group << 16 | element, None, position + 8, length
        group, element, vr, length = _EXPLICIT(data, position)
        if vr in _SHORT:
            return group << 16 | element, vr, position + 8, length
        if vr in _LONG:
            return group << 16 | element, vr, position + 12, _LENGTH(data, position + 8)[0]
    except struct.error:
        raise _NeedsMore from None
    raise Unusual


def _is_sequence(tag: int, vr: bytes | None) -> bool:
    return vr == b"SQ" or (vr is None and dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ")


def _skip_sequence(data: bytes, position: int, implicit: bool, known: bool, depth: int = 0) -> int:
    """The position behind a sequence of undefined length (PS3.5 7.5)."""
    if not known or depth > _MAX_DEPTH:
        raise Unusual
    while True:
        item, _, position, length = _element(data, position, implicit=True)
        if item == _SEQUENCE_END and length == 0:
            return position
        if item != _ITEM:
            raise Unusual
        position = _skip_item(data, position, length, implicit, depth)


def _skip_item(data: bytes, position: int, length: int, implicit: bool, depth: int) -> int:
    end = position + length
    while length == UNDEFINED_LENGTH or position < end:
        tag, _, begin, size = _element(data, position, implicit=True)
        if tag == _ITEM_END and length == UNDEFINED_LENGTH and size == 0:
            return begin
        if tag >= 0xFFFE0000:
            raise Unusual
        tag, vr, begin, size = _element(data, position, implicit)
        if size == UNDEFINED_LENGTH:
            position = _skip_sequence(data, begin, implicit, _is_sequence(tag, vr), depth + 1)
        else:
            position = begin + size
    if position != end:
        raise Unusual
    return position


class Encoded:
    """Values of elements as `walk` returns them. Raises Unusual for any that needs pydicom."""

    def __init__(self, elements: Mapping[int, tuple[bytes | None, bytes]]) -> None:
        self._elements = elements

    def texts(self, tag: int) -> tuple[str, ...]:
        vr, value = self._elements.get(tag, _ABSENT)
        if vr not in _TEXT:
            raise Unusual
        return _components(_plain(value))

    def numbers(self, tag: int) -> tuple[float, ...]:
        vr, value = self._elements.get(tag, _ABSENT)
        if vr is None and value:
            vr = b"US" if dictionary_VR(tag).startswith("US") else b"DS"
        return _numbers(vr, value)

    def stored(self, tag: int) -> bytes:
        return self._elements.get(tag, _ABSENT)[1].rstrip(b" \0")

    def private_number(self, group: int, creator: str, element: int) -> float | None:
        for tag in self._elements:
            if tag >> 16 == group and 0x10 <= tag & 0xFFFF <= 0xFF and self.stored(tag) == creator.encode():
                vr, value = self._elements.get((tag << 8 | element) & 0xFFFF | group << 16, _ABSENT)
                numbers = _numbers(b"SL" if vr in (None, b"UN") else vr, value)
                return numbers[0] if len(numbers) == 1 else None
        return None


_ABSENT: Final[tuple[None, bytes]] = (None, b"")


class Parsed:
    """Values as pydicom converts them."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def texts(self, tag: int) -> tuple[str, ...]:
        return _components("\\".join(str(value) for value in self._values(tag)))

    def numbers(self, tag: int) -> tuple[float, ...]:
        try:
            return tuple(float(value) for value in self._values(tag) if value != "")
        except (TypeError, ValueError):
            return ()

    def stored(self, tag: int) -> bytes:
        if tag not in self._dataset:
            return b""
        value = self._dataset.get_item(tag).value
        return (value if isinstance(value, bytes) else str(value or "").encode()).rstrip(b" \0")

    def private_number(self, group: int, creator: str, element: int) -> float | None:
        try:
            value = self._dataset.private_block(group, creator)[element].value
            return float(int.from_bytes(value, "little") if isinstance(value, bytes) else value)
        except (KeyError, TypeError, ValueError):
            return None

    def _values(self, tag: int) -> tuple[Any, ...]:
        try:
            value = self._dataset[tag].value if tag in self._dataset else None
        except MemoryError:
            raise
        except Exception:  # a converter raises whatever it meets, and such a value is no value
            return ()
        if value is None or value == "":
            return ()
        return tuple(value) if hasattr(value, "append") else (value,)


def _numbers(vr: bytes | None, value: bytes) -> tuple[float, ...]:
    if not value:
        return ()
    if vr in _DECIMAL:
        return tuple([float(part) for part in _components(_plain(value))])
    if vr not in _BINARY:
        raise Unusual
    return tuple([float(number) for (number,) in _BINARY[vr].iter_unpack(value)])


def _plain(value: bytes) -> str:
    """Text whose characters mean the same in every character set of PS3.3 C.12.1.1.2."""
    text = value.rstrip(b" \0").decode("ascii")
    if not text.isprintable():
        raise Unusual
    return text


def _components(text: str) -> tuple[str, ...]:
    """The components of a value (PS3.5 6.4), none where all are empty."""
    parts = tuple([part.rstrip(" \0").lstrip(" ") for part in text.split("\\")])
    return parts if any(parts) else ()


def _one(values: tuple[str, ...]) -> str:
    return values[0] if values else ""
