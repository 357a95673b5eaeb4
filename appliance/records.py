"""The immutable records that one stage hands to the next.

`Arrival -> Slice -> Geometry, Volume -> Score -> Finding -> Receipt`. Lengths are millimetres, densities
Hounsfield units (HU); positions and orientations are in the DICOM patient frame (LPS, PS3.3 C.7.6.2.1.1:
x to the patient's left, y to posterior, z to the head).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from appliance.reasons import Reason
from engines.spec import Grid

Float32 = npt.NDArray[np.float32]
Int16 = npt.NDArray[np.int16]
Triple = tuple[float, float, float]

_IDENTITY: Final = struct.Struct("<qqq")
_TOP: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What must stay the same for a file to be the one that was read. Each number has 64 bits at most."""

    size: int
    mtime_ns: int
    inode: int

    PACKED: ClassVar[int] = 24

    @classmethod
    def of(cls, stat: os.stat_result) -> FileIdentity:
        # Inodes of shares use all 64 bits, and a time may lie beyond the year 2262.
        mtime_ns = min(max(stat.st_mtime_ns, -_TOP), _TOP - 1)
        return cls(stat.st_size, mtime_ns, (stat.st_ino + _TOP) % (2 * _TOP) - _TOP)

    def pack(self) -> bytes:
        return _IDENTITY.pack(self.size, self.mtime_ns, self.inode)

    @classmethod
    def unpack(cls, packed: bytes) -> FileIdentity:
        return cls(*_IDENTITY.unpack(packed))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A regular file seen in the export folder.

    `changed_ns` is when its inode last changed, which nobody can set back; 0 where that was not asked.
    """

    path: Path
    identity: FileIdentity
    changed_ns: int = field(default=0, compare=False)

    @classmethod
    def of(cls, path: Path, status: os.stat_result) -> Arrival:
        return cls(path, FileIdentity.of(status), status.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not read: the code, and one sentence with what, where and what to do.

    The sentence is for whoever reads the record. It may name a file, and sites put names of patients into
    names of files, so it is never logged nor shown on the page.
    """

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Header:
    """What a reading uses of one instance's header. Absent is None.

    `position` and `orientation` are ImagePositionPatient and ImageOrientationPatient (PS3.3 C.7.6.2.1.1),
    `pixel_spacing` is (between rows, between columns), `padding` the closed range of stored values that
    PixelPaddingValue and PixelPaddingRangeLimit name (PS3.3 C.7.5.1.1.2). `patient` is a digest,
    never a name.
    """

    sop_instance_uid: str
    series_uid: str
    study_uid: str
    sop_class_uid: str
    transfer_syntax: str
    modality: str
    image_type: tuple[str, ...]
    patient: str
    age_years: float | None
    rows: int
    columns: int
    frames: int
    samples_per_pixel: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    padding: tuple[int, int] | None
    rescale: tuple[float, float] | None
    position: Triple | None
    orientation: tuple[float, float, float, float, float, float] | None
    pixel_spacing: tuple[float, float] | None
    slice_thickness: float | None
    acquisition: int | None
    kvp: float | None
    kernel: str | None
    contrast: bool | None
    images_in_series: int | None
    has_pixels: bool


@dataclass(frozen=True, slots=True)
class Origin:
    """What tells people one series from another; no reading depends on it.

    StationName (0008,1010), AccessionNumber (0008,0050), SeriesNumber (0020,0011). Absent is blank or None.
    """

    station: str = ""
    accession: str = ""
    number: int | None = None


@dataclass(frozen=True, slots=True)
class LungSection:
    """The lung found in one slice: its area, and its bounds in mm from the image centre.

    `bounds_mm` is (first row, last row, first column, last column) in the image frame: outer edges of the
    lung's bounding box, rows downwards and columns to the right; None where the area is 0.
    """

    area_mm2: float
    bounds_mm: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """What a worker makes of each slice.

    `in_plane_mm` is the model grid's spacing between (rows, columns), and `grid` its (height, width), of
    which only the parity matters here; `keep_native` also returns the native pixels, which a digest needs.
    Without `pixels` only the header is read. Unless `follow_links`, a link in the place of a file is no file.
    """

    in_plane_mm: tuple[float, float]
    grid: tuple[int, int]
    keep_native: bool = False
    pixels: bool = True
    follow_links: bool = True

    @classmethod
    def headers(cls, *, follow_links: bool = True) -> SlicePlan:
        """Of no grid."""
        return cls((1.0, 1.0), (1, 1), pixels=False, follow_links=follow_links)

    @classmethod
    def for_grid(cls, grid: Grid, *, keep_native: bool = False, follow_links: bool = True) -> SlicePlan:
        return cls(grid.spacing_mm[1:], grid.size[1:], keep_native, follow_links=follow_links)


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One instance, read to its last pixel.

    `plane` is float32 HU [h, w] in the image frame on the model's in-plane spacing, covering the whole
    image around its centre, padding and everything below -1024 replaced before averaging. `hu_sum`,
    `hu_min` and `hu_max` are over the native pixels before padding is replaced, rescaled and rounded half to
    even. `native` is those pixels as int16 [rows, columns]. With a `problem`, the header is valid and what
    could not be made of the pixels is None.
    """

    arrival: Arrival
    header: Header
    content_sha256: str
    hu_min: float | None = None
    hu_max: float | None = None
    hu_sum: float | None = None
    plane: Float32 | None = None
    lung: LungSection | None = None
    native: Int16 | None = None
    problem: Problem | None = None
    parse_ms: float = 0.0
    origin: Origin = Origin()


@dataclass(frozen=True, slots=True)
class Geometry:
    """The native grid of a series: [z, y, x], ascending along the normal of its orientation.

    `spacing_mm[0]` is the median distance between neighbouring slices, from their positions.
    """

    slices: int
    size: tuple[int, int, int]
    spacing_mm: Triple
    orientation: tuple[float, float, float, float, float, float]
    hu_min: float
    hu_max: float
    hu_mean: float
    hu_sha256: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A chest on the model's grid: float32 HU [D, H, W] in the patient's frame.

    Depth runs inferior to superior, rows anterior to posterior, columns right to left. `origin_mm` is the
    LPS position (x, y, z) of the centre of voxel [0, 0, 0], `spacing_mm` is [z, y, x].
    """

    hu: Float32
    spacing_mm: Triple
    origin_mm: Triple


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """What imaging makes of the slices of one series.

    Either `problem` says why the series is not read, or there is a `volume`. `unless_flagged` is a
    problem that only a flag outweighs: lung cut off at an end slice.
    """

    geometry: Geometry | None
    volume: Volume | None
    problem: Problem | None
    unless_flagged: Problem | None = None
