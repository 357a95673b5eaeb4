"""The images of a reading for people: the volume and the heatmap on the model's grid, slice by slice.

A preview is a zip file with one compressed member for each slice, so that showing one costs one. It is a
cache: nothing depends on it, and one that was cut short is none.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from appliance.records import Float32, Int16, Volume

UInt8 = npt.NDArray[np.uint8]

WINDOWS: Final = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0), "bone": (400.0, 1800.0)}
"""Centre and width in HU."""

COLOURS: Final = ((176, 0, 32), (255, 140, 0), (255, 240, 80))
"""From the lowest to the highest of the heatmap."""

_OPACITY: Final = 0.6
_QUICK: Final = 1
"""Of zlib: a third smaller would take three times as long."""


class NoPreview(Exception):
    """There is none, or it is damaged."""


def render_preview(volume: Volume, heatmap: Float32 | None) -> bytes:
    """The file. The heatmap is scaled to its highest value; one without any above 0 is none."""
    hu = np.clip(np.rint(volume.hu), -1024, 32767).astype("<i2")
    highest = 0.0 if heatmap is None else float(heatmap.max())
    meta: dict[str, Any] = {"size": hu.shape, "spacing_mm": volume.spacing_mm, "heat": None}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_QUICK) as file:
        for number, plane in enumerate(hu):
            file.writestr(str(number), plane.tobytes())
        if heatmap is not None and highest > 0:
            scaled = np.rint(np.clip(heatmap / highest, 0, 1) * 255).astype(np.uint8)
            meta["heat"] = {"size": scaled.shape, "highest": highest}
            file.writestr("heat", scaled.tobytes())
        file.writestr("meta", json.dumps(meta))
    return buffer.getvalue()


def _hottest(heat: UInt8) -> int:
    """The level of the highest cell; of several such the one with the most heat."""
    highest = heat.max(axis=(1, 2))
    return int(np.where(highest == highest.max(), heat.sum(axis=(1, 2), dtype=np.int64), -1).argmax())


@dataclass(frozen=True, slots=True)
class Preview:
    """A preview: how many slices, [z, y, x] of a voxel in mm, and of the heatmap the highest value and
    the slice with most of it."""

    slices: int
    spacing_mm: tuple[float, float, float]
    highest: float | None
    peak: int | None
    _path: Path
    _size: tuple[int, int]
    _heat: UInt8 | None

    @classmethod
    def open(cls, path: Path) -> Preview:
        """Raises NoPreview."""
        with _read(path) as file:
            meta = json.loads(file.read("meta"))
            slices, height, width = meta["size"]
            heat, highest, peak = None, None, None
            if meta["heat"] is not None:
                heat = np.frombuffer(file.read("heat"), np.uint8).reshape(meta["heat"]["size"])
                highest = meta["heat"]["highest"]
                peak = int((_hottest(heat) + 0.5) * slices / len(heat))
            z, y, x = meta["spacing_mm"]
        return cls(slices, (z, y, x), highest, peak, path, (height, width), heat)

    def image(self, number: int, window: str, *, with_heat: bool) -> bytes:
        """A slice, counted from the inferior one, as PNG in square pixels: anterior above, and the patient's
        right on the left. Raises NoPreview."""
        with _read(self._path) as file:
            hu = np.frombuffer(file.read(str(number)), "<i2").reshape(self._size)
        _, y, x = self.spacing_mm
        size = round(self._size[0] * y / min(y, x)), round(self._size[1] * x / min(y, x))
        grey = stretched(in_window(hu, *WINDOWS[window]), size)
        if not with_heat or self._heat is None:
            return png(np.rint(grey).astype(np.uint8))
        depth = len(self._heat)
        place = np.clip((number + 0.5) * depth / self.slices - 0.5, 0, depth - 1)
        below = int(place)
        part = place - below
        heat = self._heat[below] * (1 - part) + self._heat[min(below + 1, depth - 1)] * part
        return png(blended(grey, stretched(heat.astype(np.float32) / 255, size)))


def in_window(hu: Int16, centre: float, width: float) -> Float32:
    """Grey values from 0 to 255."""
    grey: Float32 = np.clip((hu.astype(np.float32) - (centre - width / 2)) / width, 0, 1) * 255
    return grey


def stretched(plane: Float32, size: tuple[int, int]) -> Float32:
    """A plane over as many pixels, in between linear."""
    for axis, wanted in enumerate(size):
        cells = plane.shape[axis]
        if cells == wanted:
            continue
        place = np.clip((np.arange(wanted) + 0.5) * cells / wanted - 0.5, 0, cells - 1)
        below = place.astype(np.intp)
        part = (place - below).astype(np.float32)
        part = part[:, None] if axis == 0 else part
        above = np.minimum(below + 1, cells - 1)
        plane = plane.take(below, axis) * (1 - part) + plane.take(above, axis) * part
    return plane


def blended(grey: Float32, heat: Float32) -> UInt8:
    """An image in grey under a heatmap from 0 to 1, which is the less transparent the higher it is."""
    stops = np.linspace(0, 1, len(COLOURS))
    colour = np.stack([np.interp(heat, stops, channel) for channel in zip(*COLOURS, strict=True)], axis=-1)
    opacity = (_OPACITY * heat)[..., None]
    mixed: UInt8 = np.rint(grey[..., None] * (1 - opacity) + colour * opacity).astype(np.uint8)
    return mixed


def png(pixels: UInt8) -> bytes:
    """8 bits grey [h, w] or colour [h, w, 3] as a file (ISO/IEC 15948)."""
    height, width = pixels.shape[:2]
    colour_type = 0 if pixels.ndim == 2 else 2
    # Each line begins with its filter: none.
    lines = np.pad(pixels.reshape(height, -1), ((0, 0), (1, 0)))
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(lines.tobytes(), _QUICK)),
            (b"IEND", b""),
        )
    )


@contextmanager
def _read(path: Path) -> Iterator[zipfile.ZipFile]:
    """The file; whatever is wrong with it is NoPreview."""
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except Exception as error:
        # A damaged file makes zipfile raise nearly anything.
        raise NoPreview from error
