"""The series that reading is timed on: a real chest where there is one, a phantom elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CHESTS = ("covid-P001", "cap-001", "normal-001")
LONG = 300


@dataclass(frozen=True, slots=True)
class Series:
    """Files of one series in a folder of their own, and where they come from."""

    encoding: str
    source: str
    paths: tuple[Path, ...]


def prepare(folder: Path) -> list[Series]:
    """A chest as a scanner sent it (JPEG Lossless), and uncompressed with the same headers and 300 slices."""
    real = next(iter(real_chests()), None)
    source, compressed = (real.name, _files(real)) if real else ("phantom", _phantom(folder / "phantom"))
    return [
        Series("JPEG Lossless", source, compressed),
        Series("uncompressed", source, uncompressed(compressed, folder / "uncompressed", LONG)),
    ]


def real_chests() -> list[Path]:
    """The folders of the real chests at hand: in $SCANLIGHT_DATA, else beside the repository."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    root = Path(os.environ.get("SCANLIGHT_DATA", beside))
    return [root / name for name in CHESTS if (root / name).is_dir()]


def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in folder.iterdir() if path.is_file()))


def _phantom(folder: Path) -> tuple[Path, ...]:
    from tools.phantom import Chest, Export, make_chest, write_series  # noqa: PLC0415 (seldom needed, and large)

    return tuple(write_series(make_chest(Chest("covid", seed=1)), folder, Export(syntax="jpeg-lossless")))


def stored_values(dataset: pydicom.Dataset) -> npt.NDArray[np.uint16]:
    """The pixels as a pydicom user gets them; pydicom itself brings no decoder for JPEG Lossless."""
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        return dataset.pixel_array
    values: npt.NDArray[np.uint16] = imagecodecs.jpeg8_decode(
        next(generate_frames(dataset.PixelData, number_of_frames=1))
    )
    return values


def uncompressed(paths: Sequence[Path], folder: Path, slices: int) -> tuple[Path, ...]:
    """The series decoded, its slices repeated upwards until there are so many, with positions that go on."""
    datasets = sorted(
        (pydicom.dcmread(path) for path in paths), key=lambda one: float(one.ImagePositionPatient[2])
    )
    first, second = (np.array(one.ImagePositionPatient, float) for one in datasets[:2])
    series_uid = generate_uid()
    folder.mkdir()
    written = []
    for index in range(slices):
        dataset = datasets[index % len(datasets)]
        values = stored_values(dataset)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID = series_uid
        dataset.InstanceNumber = index + 1
        dataset.ImagePositionPatient = [f"{value:.10g}" for value in first + index * (second - first)]
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = values.tobytes()
        dataset["PixelData"].VR = "OW"
        dataset["PixelData"].is_undefined_length = False
        # Not padded with zeros: as with many scanners, the order of names is not the order of slices.
        path = folder / f"IM{index + 1}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        written.append(path)
    return tuple(sorted(written))
