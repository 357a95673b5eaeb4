"""Damage that keeps a file whole enough to get past its first bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

_ELEMENT = re.compile(
    rb"[\x02\x08\x10\x18\x20\x28]\x00..(?P<vr>AS|CS|DA|DS|IS|LO|PN|SH|UI|US|SS|UL)(?P<length>..)", re.DOTALL
)
_PIXELS = b"\xe0\x7f\x10\x00"

_NUMBERS = (
    b"0",
    b"-1",
    b"1",
    b"1e308",
    b"-1e-308",
    b"nan",
    b"inf",
    b"1e9",
    b"99999999",
    b"0.001",
    b"1_0",
    b"",
)
_VECTORS = (
    b"1\\0\\0\\0\\1\\0",
    b"0\\1\\0\\1\\0\\0",
    b"0\\0\\60",
    b"1e9\\1e9\\1e9",
    b"\\",
    b"24\\24",
    b"0.01\\50",
    b"99999999\\99999999",
)
_TEXTS = (
    b"",
    b"\\",
    b"\0",
    b"CT",
    b"MR",
    b"LOCALIZER",
    b"\xff\xfe",
    b"../../x",
    b"ISO_IR 999",
    b"\\ISO 2022 IR 87",
)
_WORDS = tuple(
    n.to_bytes(2, "little") for n in (0, 1, 2, 7, 8, 11, 12, 15, 16, 17, 31, 32, 255, 4096, 0x7FFF, 0xFFFF)
)
_UIDS = tuple(
    f"1.2.840.10008.1.2{end}".encode()
    for end in (
        "",
        ".1",
        ".2",
        ".1.99",
        ".1.98",
        ".5",
        ".4.50",
        ".4.70",
        ".4.80",
        ".4.90",
        ".4.201",
        ".4.100",
    )
)

VALUES: dict[bytes, Sequence[bytes]] = {
    b"AS": (b"000Y", b"999D", b"-01Y", b"\xb2\xb2\xb2Y"),
    b"CS": _TEXTS,
    b"DA": (b"00000000", b"99999999", b"20260230", b"\xff"),
    b"DS": _NUMBERS + _VECTORS,
    b"IS": _NUMBERS,
    b"LO": _TEXTS,
    b"PN": _TEXTS,
    b"SH": _TEXTS,
    b"UI": _UIDS + _TEXTS,
    b"US": _WORDS,
    b"SS": _WORDS,
    b"UL": (*(word + b"\0\0" for word in _WORDS), b"\xff" * 4),
}
"""What a value of an explicit VR is changed to."""


def another_value(data: bytes, rng: random.Random) -> bytes:
    """One element with another value, and the length that goes with it."""
    elements = list(_ELEMENT.finditer(data))
    if not elements:
        return data
    element = rng.choice(elements)
    value = rng.choice(VALUES[element["vr"]])
    return _with(data, element, value + b" " * (len(value) % 2))


def with_value(data: bytes, tag: int, value: bytes) -> bytes:
    """The first element of a tag with another value; the tag must be there, in explicit VR."""
    wanted = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    element = next(element for element in _ELEMENT.finditer(data) if element[0].startswith(wanted))
    return _with(data, element, value + b" " * (len(value) % 2))


def _with(data: bytes, element: re.Match[bytes], value: bytes) -> bytes:
    rest = element.end() + int.from_bytes(element["length"], "little")
    return data[: element.end() - 2] + len(value).to_bytes(2, "little") + value + data[rest:]


def other_pixels(data: bytes, rng: random.Random) -> bytes:
    """Some bytes of the pixels changed in place."""
    work, start = bytearray(data), data.rfind(_PIXELS) + len(_PIXELS)
    if start < len(work):
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            work[rng.randrange(start, len(work))] = rng.choice((0, 0xFF, 0xD9, rng.randrange(256)))
    return bytes(work)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut off, taken out or put in, anywhere."""
    work, at = bytearray(data), rng.randrange(len(data) or 1)
    match rng.randrange(4):
        case 0 if work:
            work[at] = rng.randrange(256)
        case 1:
            del work[at:]
        case 2:
            del work[at : at + rng.randrange(1, 16)]
        case _:
            work[at:at] = rng.randbytes(rng.randrange(1, 16))
    return bytes(work)


MUTATIONS = (another_value, other_pixels, damaged)


def mutated(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(MUTATIONS)(data, rng)
    return data
