"""From an open DICOM file to the `Header` that a reading uses, and the place of its pixels."""

from __future__ import annotations

import datetime
import hashlib
import math
import re
import struct
from collections.abc import Mapping
from typing import BinaryIO, Final, NamedTuple

from pydicom.uid import MediaStorageDirectoryStorage

from appliance.imaging.elements import (
    MEDIA_SOP_CLASS,
    DataSet,
    PixelElement,
    Values,
    read_by_pydicom,
    read_usual,
)
from appliance.reasons import Reason
from appliance.records import Header, Origin, Problem, Triple

_IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE, _MODALITY = 0x00080008, 0x00080016, 0x00080018, 0x00080060
_STUDY_DATE, _PATIENT_NAME, _PATIENT_ID, _PATIENT_ISSUER = 0x00080020, 0x00100010, 0x00100020, 0x00100021
_BIRTH_DATE, _AGE = 0x00100030, 0x00101010
_CONTRAST, _THICKNESS, _KVP, _KERNEL = 0x00180010, 0x00180050, 0x00180060, 0x00181210
_STUDY, _SERIES, _ACQUISITION = 0x0020000D, 0x0020000E, 0x00200012
_STATION, _ACCESSION, _SERIES_NUMBER = 0x00081010, 0x00080050, 0x00200011
_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_SPACING, _BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT = 0x00280030, 0x00280100, 0x00280101, 0x00280102
_SIGNED, _PADDING, _PADDING_LIMIT = 0x00280103, 0x00280120, 0x00280121
_INTERCEPT, _SLOPE, _RESCALE_TYPE = 0x00281052, 0x00281053, 0x00281054

_IDENTITY = (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES, _MODALITY, _IMAGE_TYPE)
_PATIENT = (_PATIENT_ID, _PATIENT_ISSUER, _PATIENT_NAME, _BIRTH_DATE)
_SCAN = (_STUDY_DATE, _AGE, _CONTRAST, _THICKNESS, _KVP, _KERNEL, _ACQUISITION, _POSITION, _ORIENTATION)
_IMAGE = (_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _SPACING, _BITS_ALLOCATED, _BITS_STORED)
_MEANING = (_HIGH_BIT, _SIGNED, _PADDING, _PADDING_LIMIT, _INTERCEPT, _SLOPE, _RESCALE_TYPE)
_ORIGIN = (_STATION, _ACCESSION, _SERIES_NUMBER)
_USED: Final = frozenset((*_IDENTITY, *_PATIENT, *_SCAN, *_IMAGE, *_MEANING, *_ORIGIN))

_COUNTS: Final = ((0x0025, "GEMS_SERS_01", 0x07), (0x07A1, "ELSCINT1", 0x02))
"""Private elements that carry the number of images in the series: (group, creator, element in its block)."""
_COUNT_GROUPS: Final = frozenset(group for group, _, _ in _COUNTS)

_WITHOUT_CONTRAST = re.compile(
    r"\s*(?:no|none|nil|non?[ -]?contrast|without\b.*|w/o\b.*|n/?a|native?|unenhanced|plain|0|false)[\s.]*",
    re.IGNORECASE,
)
_AGE_UNITS: Final[Mapping[str, float]] = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}

_IMPOSSIBLE: Final = 1e9
_SMALLEST_MM: Final = 0.01


class NotDicom(Exception):
    """The file is not a DICOM instance and does not claim to be one."""


class Unreadable(Exception):
    """The file claims to be DICOM and cannot be read to its identity. `problem.reason` is `unreadable`."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(Reason.UNREADABLE, detail)

    def __reduce__(self) -> tuple[type[Unreadable], tuple[str]]:
        return type(self), (self.problem.detail,)


class Instance(NamedTuple):
    """One instance but for its pixels. `high_bit` is High Bit (PS3.3 C.7.6.3.1)."""

    header: Header
    pixels: PixelElement | None
    high_bit: int
    origin: Origin


def read_header(file: BinaryIO) -> Instance:
    """The header of one instance and the place of its pixels, which are not read.

    `file` is at its start and can seek. Raises NotDicom for a DICOMDIR, and Unreadable when the file cannot
    be parsed or lacks the UID of instance, series or study.
    """
    try:
        return instance(read_usual(file, _USED, _COUNT_GROUPS))
    except (MemoryError, NotDicom, Unreadable):
        raise
    except Exception:  # whatever the short way trips over, pydicom decides what it is
        file.seek(0)
    try:
        return instance(read_by_pydicom(file))
    except (MemoryError, NotDicom, Unreadable):
        raise
    except Exception as error:
        # The text of such an exception may quote values; its type does not.
        raise Unreadable(
            f"The file cannot be parsed as DICOM ({type(error).__name__}): export it again."
        ) from error


def claims_to_be_dicom(name: str, start: bytes) -> bool:
    """Whether a file means to be DICOM: by the prefix (PS3.10 7.1), by its name, or because its first bytes
    look like a data set without the preamble. `start` is its first 132 bytes."""
    if start[128:132] == b"DICM" or name.lower().endswith((".dcm", ".dicom", ".ima")):
        return True
    if len(start) < 8:
        return False
    group, element, vr = struct.unpack_from("<HH2s", start)
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    return vr in (b"UL", b"CS", b"UI", b"SH", b"DA", b"TM") or int.from_bytes(start[4:8], "little") <= 64


def instance(data: DataSet) -> Instance:
    """The header made of a data set's values. Raises as `read_header` does."""
    values = data.values
    media_sop_class = next(iter(data.meta.texts(MEDIA_SOP_CLASS)), "")
    if media_sop_class == MediaStorageDirectoryStorage:
        raise NotDicom("a DICOMDIR")

    def text(tag: int) -> str:
        return next(iter(values.texts(tag)), "")

    def number(tag: int) -> float | None:
        return next((value for value in values.numbers(tag) if _possible(value)), None)

    def integer(tag: int) -> int | None:
        value = number(tag)
        return int(value) if value is not None and value.is_integer() else None

    def exactly(tag: int, count: int) -> tuple[float, ...] | None:
        vector = values.numbers(tag)
        return vector if len(vector) == count and all(map(_possible, vector)) else None

    identity = {"instance": text(_SOP_INSTANCE), "series": text(_SERIES), "study": text(_STUDY)}
    missing = [name for name, uid in identity.items() if not uid]
    if missing:
        raise Unreadable(
            f"The file claims to be DICOM and carries no UID of {' and '.join(missing)}: export it again, or"
            " take it out of the folder."
        )

    signed = integer(_SIGNED) == 1
    bits_allocated = integer(_BITS_ALLOCATED) or 0
    bits_stored = integer(_BITS_STORED) or bits_allocated
    high_bit = integer(_HIGH_BIT)
    padding = integer(_PADDING)
    limit = integer(_PADDING_LIMIT)
    limits = [_as_stored(value, signed, bits_allocated) for value in (padding, limit) if value is not None]
    header = Header(
        sop_instance_uid=identity["instance"],
        series_uid=identity["series"],
        study_uid=identity["study"],
        sop_class_uid=text(_SOP_CLASS) or media_sop_class,
        transfer_syntax=data.transfer_syntax,
        modality=text(_MODALITY),
        image_type=values.texts(_IMAGE_TYPE),
        patient=_patient(values),
        age_years=_age(text(_AGE), text(_BIRTH_DATE), text(_STUDY_DATE)),
        rows=integer(_ROWS) or 0,
        columns=integer(_COLUMNS) or 0,
        frames=integer(_FRAMES) or 1,
        samples_per_pixel=integer(_SAMPLES) or 1,
        photometric=text(_PHOTOMETRIC),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        signed=signed,
        padding=(min(limits), max(limits)) if padding is not None else None,
        rescale=_rescale(number(_SLOPE), number(_INTERCEPT), text(_RESCALE_TYPE)),
        position=_triple(exactly(_POSITION, 3)),
        orientation=_sextuple(exactly(_ORIENTATION, 6)),
        pixel_spacing=_pair(exactly(_SPACING, 2)),
        slice_thickness=_positive(number(_THICKNESS)),
        acquisition=integer(_ACQUISITION),
        kvp=_positive(number(_KVP)),
        kernel=text(_KERNEL) or None,
        contrast=_contrast(text(_CONTRAST)),
        images_in_series=_images_in_series(values, integer(_FRAMES)),
        has_pixels=data.pixels is not None,
    )
    station, accession = (_legible(values.stored(tag)) for tag in (_STATION, _ACCESSION))
    origin = Origin(station, accession, integer(_SERIES_NUMBER))
    return Instance(header, data.pixels, bits_stored - 1 if high_bit is None else high_bit, origin)


def _legible(stored: bytes) -> str:
    """A text for people, whatever its character set: nothing is decided by it."""
    try:
        return stored.decode().strip()
    except UnicodeDecodeError:
        return stored.decode("latin-1").strip()


def _patient(values: Values) -> str:
    digest = hashlib.sha256()
    for tag in _PATIENT:
        value = values.stored(tag)
        digest.update(len(value).to_bytes(4, "little") + value)
    return digest.hexdigest()


def _as_stored(value: int, signed: bool, bits_allocated: int) -> int:
    """Pixel Padding Value is US or SS by Pixel Representation (PS3.3 C.7.5.1.1.2), whatever was written."""
    modulus = 1 << (bits_allocated or 16)
    value %= modulus
    return value - modulus if signed and value >= modulus // 2 else value


def _rescale(slope: float | None, intercept: float | None, kind: str) -> tuple[float, float] | None:
    """Slope and intercept to HU (PS3.3 C.11.1.1.2); None for another unit than HU."""
    if slope is None or intercept is None or slope == 0 or kind.upper() not in ("", "HU", "US"):
        return None
    return slope, intercept


def _age(age: str, birth: str, study: str) -> float | None:
    """Years, from PatientAge (PS3.5 6.2, AS) or else between birth and study."""
    if len(age) == 4 and age[:3].isdigit() and age[3] in _AGE_UNITS:
        return int(age[:3]) * _AGE_UNITS[age[3]]
    try:
        born, taken = (datetime.datetime.strptime(day, "%Y%m%d").date() for day in (birth, study))
    except ValueError:
        return None
    return (taken - born).days / 365.25 if taken >= born else None


def _contrast(agent: str) -> bool | None:
    """True where Contrast/Bolus Agent names one, False where it says that there was none."""
    return not _WITHOUT_CONTRAST.fullmatch(agent) if agent else None


def _images_in_series(values: Values, frames: int | None) -> int | None:
    for group, creator, element in _COUNTS:
        count = values.private_number(group, creator, element)
        if count is not None and 0 < count < 1 << 20:
            return int(count)
    return frames if frames and frames > 1 else None


def _possible(value: float) -> bool:
    """Whether a number can be a length, a density or a count; a header may hold 1e308 or nan."""
    return math.isfinite(value) and abs(value) < _IMPOSSIBLE


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _pair(vector: tuple[float, ...] | None) -> tuple[float, float] | None:
    return (vector[0], vector[1]) if vector and min(vector) >= _SMALLEST_MM else None


def _triple(vector: tuple[float, ...] | None) -> Triple | None:
    return (vector[0], vector[1], vector[2]) if vector else None


def _sextuple(v: tuple[float, ...] | None) -> tuple[float, float, float, float, float, float] | None:
    """Two orthogonal unit vectors (PS3.3 C.7.6.2.1.1), to what decimal strings leave of it."""
    if v is None:
        return None
    row, column = v[:3], v[3:]
    lengths = math.hypot(*row), math.hypot(*column)
    cosine = sum(a * b for a, b in zip(row, column, strict=True))
    if abs(cosine) > 1e-2 or any(abs(length - 1) > 1e-2 for length in lengths):
        return None
    return v[0], v[1], v[2], v[3], v[4], v[5]
