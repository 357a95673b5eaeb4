"""Objects: what a finding consists of, rendered once and kept under the hash of its bytes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from appliance.records import Float32, Volume
from appliance.state_disk import StateDisk


class ObjectStore:
    """A folder of immutable files named by content. An object is on the disk before the journal names it."""

    def __init__(self, folder: Path, disk: StateDisk) -> None:
        self._folder = folder
        self._disk = disk

    def put(self, content: bytes, suffix: str) -> str:
        """Store bytes and return their name, as soon as the disk takes them. Raises OSError or GivenUp."""
        name = hashlib.sha256(content).hexdigest() + suffix
        path = self._folder / name
        if not path.exists():
            self._disk.write(path, content)
        return name

    def get(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()


def render_heatmap(heatmap: Float32, volume: Volume) -> bytes:
    """A heatmap as NumPy .npz: `heatmap` float32 [d, h, w] in the patient's frame, and where it lies.

    `spacing_mm` is [z, y, x] of its cells, `origin_mm` the LPS position (x, y, z) of the centre of cell
    [0, 0, 0]. The same heatmap gives the same bytes.
    """
    cells = np.array(volume.hu.shape) / heatmap.shape
    spacing = np.array(volume.spacing_mm) * cells
    origin = np.array(volume.origin_mm) + ((cells - 1) / 2 * volume.spacing_mm)[::-1]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, heatmap=heatmap, spacing_mm=spacing, origin_mm=origin)
    return buffer.getvalue()


def centroid_mm(heatmap: Float32, volume: Volume) -> tuple[float, float, float] | None:
    """The LPS position (x, y, z) of the heatmap's centre of mass; None where it is all zero."""
    total = float(heatmap.sum(dtype=np.float64))
    if total <= 0:
        return None
    cells = np.array(volume.hu.shape) / heatmap.shape
    means = [
        float((heatmap.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64) @ np.arange(size)) / total)
        for axis, size in enumerate(heatmap.shape)
    ]
    voxels = (np.array(means) + 0.5) * cells - 0.5
    z, y, x = voxels * volume.spacing_mm
    return (volume.origin_mm[0] + x, volume.origin_mm[1] + y, volume.origin_mm[2] + z)
