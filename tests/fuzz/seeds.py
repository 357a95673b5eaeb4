"""What fuzzing begins with: a section of a small chest in every syntax and odd shape that is read."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from imaging.synthetic import chest, ct
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate

SIZE = 16
SPACING = (24.0, 24.0)
SECTION = chest(24, SIZE)[12]

LOSSY: dict[str, Callable[[np.ndarray], bytes]] = {
    uid.JPEGBaseline8Bit: lambda stored: imagecodecs.jpeg8_encode((stored >> 4).astype("u1")),
    uid.JPEGExtended12Bit: lambda stored: imagecodecs.jpeg8_encode(stored, bitspersample=12),
    uid.JPEGLSNearLossless: lambda stored: imagecodecs.jpegls_encode(stored, level=2),
    uid.JPEG2000: lambda stored: imagecodecs.jpeg2k_encode(stored, level=40, codecformat="j2k"),
    uid.HTJ2K: lambda stored: imagecodecs.htj2k_encode(stored, reversible=False),
}
SYNTAXES = (
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
)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Names and files."""
    for syntax in SYNTAXES:
        yield f"{uid.UID(syntax).keyword}.dcm", encoded(section(syntax=syntax))
        signed = section(syntax=syntax, PixelRepresentation=1, BitsStored=16, HighBit=15)
        yield f"{uid.UID(syntax).keyword}-signed.dcm", encoded(signed)
    for syntax, encode in LOSSY.items():
        yield f"{uid.UID(syntax).keyword}.dcm", encoded(lossy(syntax, encode))
    plain = encoded(rich())
    yield "rich.dcm", plain
    yield "no-preamble.dcm", plain[132:]
    (meta,) = struct.unpack_from("<L", plain, 140)
    yield "no-meta.dcm", plain[144 + meta :]
    yield "no-pixels.dcm", plain[: plain.rindex(b"\xe0\x7f\x10\x00")]
    yield "frames.dcm", encoded(section(NumberOfFrames="3"))
    yield "padding.dcm", encoded(section(PixelPaddingValue=24, PixelPaddingRangeLimit=100))
    for bits in (8, 32):
        yield f"bits-{bits}.dcm", encoded(of_bits(bits))


def section(**values: Any) -> FileDataset:
    return ct(SECTION, (0, 0, 60), spacing=SPACING, uid="1.2.3.4.13", **values)


def lossy(syntax: str, encode: Callable[[np.ndarray], bytes]) -> FileDataset:
    dataset = section()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([encode((SECTION + 1024).astype("u2"))])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def rich() -> FileDataset:
    """With sequences of undefined length and private blocks."""
    dataset, item = section(), Dataset()
    item.CodeValue, item.CodeMeaning = "1", "x"
    item.PurposeOfReferenceCodeSequence = [Dataset()]
    dataset.ReferencedImageSequence = [item, Dataset()]
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.private_block(0x0025, "GEMS_SERS_01", create=True).add_new(7, "SL", 40)
    dataset.private_block(0x07A1, "ELSCINT1", create=True).add_new(2, "UL", 41)
    return dataset


def of_bits(bits: int) -> FileDataset:
    dataset = section()
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelData = ((SECTION + 1024) >> (4 if bits == 8 else 0)).astype(f"<u{bits // 8}").tobytes()
    return dataset


def encoded(dataset: FileDataset) -> bytes:
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (folder / name).write_bytes(data)
