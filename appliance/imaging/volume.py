"""A folder of trusted slices as one native array, for offline use: each is read straight into its place.

The daemon reads slices as they come, in worker processes (`slices`, `isolation`); this is for when all are
there and nobody means harm: benchmarks, training, notebooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from appliance.imaging.geometry import stack
from appliance.imaging.header import Instance, read_header
from appliance.imaging.orientation import Orientation
from appliance.imaging.pixels import PixelsRefused, check, decode, hounsfield, read_encoded
from appliance.reasons import Reason
from appliance.records import Int16, Problem, Triple


class NotAVolume(Exception):
    """The slices do not form a volume of int16 HU; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


@dataclass(frozen=True, slots=True, eq=False)
class NativeVolume:
    """HU [z, y, x] in the image's own frame, ascending along the normal of `orientation`, before padding is
    replaced. `spacing_mm` is [z, y, x]; `origin_mm` the LPS position of the first voxel's centre."""

    hu: Int16
    spacing_mm: Triple
    origin_mm: Triple
    orientation: Orientation


def read_volume(paths: Sequence[Path], threads: int = 1) -> NativeVolume:
    """Reads the slices of one series, in any order of files.

    Headers come first, so that each slice's pixels can go to their place; they are work for the interpreter,
    which threads do not speed up, so that `threads` share the pixels. Uneven spacing, missing slices and a
    tilted gantry are the caller's to judge. Raises NotAVolume, header.NotDicom and header.Unreadable.
    """
    instances = [header_of(path) for path in paths]
    placed = stack([instance.header for instance in instances])
    if isinstance(placed, Problem):
        raise NotAVolume(placed)
    hu = np.empty(placed.size, np.int16)

    def fill(first: int) -> None:
        for place in range(first, len(paths), threads):
            index = placed.order[place]
            read_pixels(paths[index], instances[index], hu[place])

    if threads == 1:
        fill(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, range(threads)))
    return NativeVolume(hu, placed.spacing_mm, placed.first_position, placed.orientation)


def header_of(path: Path) -> Instance:
    """The header of a file; its pixel element remains valid for `read_pixels`."""
    with path.open("rb") as file:
        return read_header(file)


def read_pixels(path: Path, instance: Instance, into: Int16) -> None:
    """HU of an instance from `header_of`, into its slot [rows, columns]. Raises NotAVolume."""
    try:
        pixels = check(instance)
        with path.open("rb", buffering=0) as file:
            # The source is the file that `header_of` closed, or bytes that were inflated from it.
            source = replace(pixels, source=file) if pixels.source.closed else pixels
            encoded = read_encoded(source, instance.header, into)
        converted = hounsfield(instance.header, decode(instance.header, encoded), into)
    except PixelsRefused as refused:
        raise NotAVolume(refused.problem) from refused
    if converted.native is None:
        raise NotAVolume(
            Problem(Reason.UNSUPPORTED_SYNTAX, "Densities do not fit 16 bits: look at the rescale.")
        )
