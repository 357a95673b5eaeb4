"""Small CT series whose every voxel is known, written as real files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
INTERCEPT = -1024


def ct(
    hu: np.ndarray,
    position: Sequence[float] = (0.0, 0.0, 0.0),
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (2.0, 2.0),
    uid: str = "1.2.3.1",
    syntax: str = pydicom.uid.ExplicitVRLittleEndian,
    **values: Any,
) -> FileDataset:
    """One CT instance of 16 bits, unsigned 12 bits stored, as a scanner would write it but for its modules'
    length; `values` sets or (None) removes elements by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(
        "",
        {},
        file_meta=meta,
        preamble=b"\0" * 128,
        is_implicit_VR=syntax == pydicom.uid.ImplicitVRLittleEndian,
        is_little_endian=syntax != pydicom.uid.ExplicitVRBigEndian,
    )
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = pydicom.uid.CTImageStorage
    dataset.SOPInstanceUID = uid
    dataset.StudyDate = "20260102"
    dataset.Modality = "CT"
    dataset.PatientName = "Nobody^Test"
    dataset.PatientID = "T-1"
    dataset.PatientBirthDate = "19800102"
    dataset.PatientAge = "046Y"
    dataset.SliceThickness = "2"
    dataset.KVP = "120"
    dataset.ConvolutionKernel = "B30f"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.AcquisitionNumber = 1
    dataset.ImagePositionPatient = [f"{value:.10g}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.10g}" for value in orientation]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.PixelSpacing = list(spacing)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope = str(INTERCEPT), "1"
    for keyword, value in values.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    stored = (hu - INTERCEPT).astype("<i2" if dataset.PixelRepresentation else "<u2")
    _set_pixels(dataset, stored, syntax)
    return dataset


def _set_pixels(dataset: FileDataset, stored: np.ndarray, syntax: str) -> None:
    encoded = encode(stored, dataset, syntax)
    if encoded is None:
        dataset.PixelData = (
            stored.astype(stored.dtype.newbyteorder(">")).tobytes()
            if syntax == pydicom.uid.ExplicitVRBigEndian
            else stored.tobytes()
        )
        dataset["PixelData"].VR = "OW"
    else:
        dataset.PixelData = encapsulate([encoded])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True


def encode(stored: np.ndarray, dataset: FileDataset, syntax: str) -> bytes | None:
    """The stream of an encapsulated transfer syntax; None for a native one."""
    uid = pydicom.uid
    match syntax:
        case uid.JPEGLossless | uid.JPEGLosslessSV1:
            unsigned = stored.view("u2") & ((1 << dataset.BitsStored) - 1)
            return imagecodecs.jpeg8_encode(
                unsigned, lossless=True, predictor=1, bitspersample=dataset.BitsStored
            )
        case uid.JPEGLSLossless:
            return imagecodecs.jpegls_encode(stored.view("u2"))
        case uid.JPEG2000Lossless:
            return imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, codecformat="j2k")
        case uid.HTJ2KLossless:
            return imagecodecs.htj2k_encode(stored, reversible=True)
        case uid.RLELossless:
            return RLELosslessEncoder.encode(
                stored.tobytes(),
                rows=dataset.Rows,
                columns=dataset.Columns,
                samples_per_pixel=1,
                bits_allocated=16,
                bits_stored=dataset.BitsStored,
                pixel_representation=dataset.PixelRepresentation,
                photometric_interpretation="MONOCHROME2",
                number_of_frames=1,
            )
        case _:
            return None


def save(dataset: FileDataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_volume(
    folder: Path,
    hu: np.ndarray,
    *,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    spacing: Sequence[float] = (2.0, 2.0, 2.0),
    orientation: Sequence[float] = AXIAL,
    step: Sequence[float] | None = None,
    **values: Any,
) -> list[Path]:
    """A series [z, y, x] in the image's own frame, one file a slice; `step` is from slice to slice in mm."""
    folder.mkdir(parents=True, exist_ok=True)
    if step is None:
        step = np.cross(orientation[:3], orientation[3:]) * spacing[0]
    paths = []
    for index, plane in enumerate(hu):
        position = np.asarray(origin) + index * np.asarray(step)
        dataset = ct(plane, position, orientation, spacing[1:], f"1.2.3.4.{index + 1}", **values)
        paths.append(save(dataset, folder / f"{index + 1:04d}.dcm"))
    return paths


def chest(slices: int = 40, size: int = 96, *, right: bool = True, left: bool = True) -> np.ndarray:
    """A body of soft tissue in air with two ellipsoids of lung, [z, y, x] in HU."""
    z, y, x = np.meshgrid(
        np.linspace(-1, 1, slices), np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij"
    )
    hu = np.where((y / 0.7) ** 2 + (x / 0.9) ** 2 < 1, 40, -1000)
    for side, present in ((-0.42, right), (0.42, left)):
        if present:
            hu[(z / 0.9) ** 2 + (y / 0.5) ** 2 + ((x - side) / 0.33) ** 2 < 1] = -850
    return hu
