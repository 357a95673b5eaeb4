"""Reading one file: from its path to a `Slice`, in one pass over the file.

The same function runs in worker processes, which untrusted files need, and in threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.imaging.header import Instance, NotDicom, Unreadable, claims_to_be_dicom, read_header
from appliance.imaging.lung import find_lung
from appliance.imaging.orientation import is_transposed
from appliance.imaging.pixels import (
    Hounsfield,
    PixelsRefused,
    check,
    check_field,
    decode,
    hounsfield,
    read_encoded,
)
from appliance.imaging.resample import covering, resample
from appliance.records import Arrival, FileIdentity, Float32, Header, Slice, SlicePlan

__all__ = ["AIR_HU", "ChangedMeanwhile", "NotDicom", "Unreadable", "read_slice", "without_padding"]

Float64 = npt.NDArray[np.float64]

AIR_HU = -1024


class ChangedMeanwhile(Exception):
    """The file is not the one any more that was opened: what was read may be half of each."""


def _open(path: Path, follow_links: bool) -> int:
    """Neither a pipe that somebody put there nor a slow device may block the worker."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags if follow_links else flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow_links:
            raise FileNotFoundError(errno.ENOENT, "A link is in the place of the file") from error
        raise


def read_slice(path: Path, plan: SlicePlan) -> Slice:
    """Reads one DICOM file to its last pixel.

    A header that is fine with pixels that are not gives a Slice with a `problem`. Raises NotDicom for what is
    no DICOM instance and does not claim to be one, Unreadable for what claims to be and cannot be parsed to
    its identity, ChangedMeanwhile for what is written while it is read, and OSError as opening and reading
    do.
    """
    began = time.perf_counter()
    descriptor = _open(path, plan.follow_links)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotDicom("not a regular file")
        if not claims_to_be_dicom(path.name, file.read(132)):
            raise NotDicom("not a DICOM file")
        file.seek(0)
        instance = read_header(file)
        read = Slice(
            arrival=Arrival.of(path, status),
            header=instance.header,
            content_sha256=_content(instance.header, None),
            origin=instance.origin,
        )
        if plan.pixels:
            try:
                read = _with_pixels(read, instance, plan)
            except PixelsRefused as refused:
                read = replace(read, problem=refused.problem)
    if FileIdentity.of(path.stat()) != read.arrival.identity:
        raise ChangedMeanwhile(path)
    return replace(read, parse_ms=(time.perf_counter() - began) * 1e3)


def read_slices(paths: Sequence[Path], plan: SlicePlan) -> list[Slice]:
    """Trusted files, one after the other in this process; raises what `read_slice` does."""
    return [read_slice(path, plan) for path in paths]


def _with_pixels(read: Slice, instance: Instance, plan: SlicePlan) -> Slice:
    header = instance.header
    encoded = read_encoded(check(instance), header)
    content = _content(header, encoded)
    try:
        hu = hounsfield(header, decode(header, encoded))
        check_field(header)
    except PixelsRefused as refused:
        return replace(read, content_sha256=content, problem=refused.problem)
    spacing = header.pixel_spacing
    assert spacing is not None, "check refuses pixels without"
    total = hu.values.sum(dtype=np.float64 if hu.native is None else np.int64)
    air = without_padding(header, hu)
    return replace(
        read,
        content_sha256=content,
        hu_min=float(hu.minimum),
        hu_max=float(hu.maximum),
        hu_sum=float(total),
        plane=_plane(header, spacing, air, plan),
        lung=find_lung(air, spacing),
        native=hu.native if plan.keep_native else None,
    )


def without_padding(header: Header, hu: Hounsfield) -> Float64:
    """A copy of the pixels with padding (PS3.3 C.7.5.1.1.2) and everything below -1024 HU as air."""
    air: Float64 = np.maximum(hu.values, AIR_HU).astype(np.float64)
    if header.padding is not None and header.rescale is not None:
        slope, intercept = header.rescale
        low, high = sorted(round(value * slope + intercept) for value in header.padding)
        if high > AIR_HU:
            air[(hu.values >= low) & (hu.values <= high)] = AIR_HU
    return air


def _plane(header: Header, spacing: tuple[float, float], hu: Float64, plan: SlicePlan) -> Float32:
    """The slice on the model's in-plane spacing."""
    cell, grid = plan.in_plane_mm, plan.grid
    if header.orientation is not None and is_transposed(header.orientation):
        cell, grid = cell[::-1], grid[::-1]
    rows = covering(header.rows, spacing[0], cell[0], grid[0])
    columns = covering(header.columns, spacing[1], cell[1], grid[1])
    return resample(hu, rows, columns)


def _content(header: Header, encoded: npt.NDArray[np.uint8] | None) -> str:
    """SHA-256 of the pixels as stored and of every header value that a reading uses."""
    digest = hashlib.sha256(repr(header).encode())
    if encoded is not None:
        digest.update(encoded.data)
    return digest.hexdigest()
