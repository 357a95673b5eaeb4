"""What a scanner exports beside a chest: the localizer and the dose sheet of the same study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage
from scipy import ndimage

from tools.phantom import dicom
from tools.phantom.chest import Chest
from tools.phantom.export import Export
from tools.phantom.make import make_chest
from tools.phantom.vendors import vendor_of


def localizer(chest: Chest, export: Export | None = None) -> Dataset:
    """The scan's frontal localizer: one coronal projection (PS3.3 C.8.2.1.1.1, value 3 LOCALIZER)."""
    export = export or Export()
    vendor = vendor_of(chest.seed)
    coarse = make_chest(replace(chest, slice_mm=5.0, matrix=64, fov_mm=400.0, kernel="soft"))
    depth = np.clip(coarse.hu.astype(np.float32) + 1000, 0, None).mean(axis=1)[::-1]
    frontal = ndimage.zoom(depth, (5 / 2, 6.25 / 2), order=1, grid_mode=True, mode="nearest")
    dataset = dicom.envelope(CTImageStorage, dicom.syntax_of(export))
    dicom.study_modules(dataset, chest, export, vendor)
    dicom.series_modules(
        dataset, chest, export, kind="localizer", number=1, description="Localizer", minutes=1
    )
    dicom.exposure_modules(dataset, chest, vendor)
    dataset.ScanOptions = "SCOUT MODE"
    for name in (
        "CTDIvol",
        "CTDIPhantomTypeCodeSequence",
        "SpiralPitchFactor",
        "TableFeedPerRotation",
        "RevolutionTime",
        "ConvolutionKernel",
    ):
        delattr(dataset, name)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dicom.frame_module(dataset, export)
    x, _, z = coarse.origin_mm
    dicom.plane_module(
        dataset,
        position=(x - 6.25 / 2 + 1, coarse.origin_mm[1] + 200 - 6.25 / 2, z - 2.5 + 5 * len(coarse.hu) - 1),
        orientation=(1, 0, 0, 0, 0, -1),
        spacing=(2.0, 2.0),
        thickness=400.0,
    )
    dicom.hounsfield_module(dataset, vendor)
    dataset.RescaleType = "US"
    dicom.pixel_module(
        dataset, np.rint(frontal).astype(np.int32) - 1000 - vendor.intercept, vendor, export.syntax
    )
    return dataset


def dose_sheet(chest: Chest, export: Export | None = None) -> Dataset:
    """A picture of the dose report as scanners store it: Secondary Capture (PS3.3 A.8.1), derived."""
    export = export or Export()
    dataset = dicom.envelope(
        SecondaryCaptureImageStorage, dicom.syntax_of(replace(export, syntax="explicit"))
    )
    dicom.study_modules(dataset, chest, export, vendor_of(chest.seed))
    dicom.series_modules(
        dataset, chest, export, kind="dose", number=999, description="Dose report", minutes=8
    )
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER", "DOSE_REPORT"]
    dataset.ConversionType = "WSD"
    dataset.PatientOrientation = ""
    dataset.InstanceNumber = 1
    sheet = np.zeros((256, 256), np.uint8)
    sheet[20:28, 16:140] = 200
    widths = np.random.default_rng(chest.seed).integers(30, 190, 8)
    for line, width in enumerate(widths):
        sheet[52 + 22 * line : 60 + 22 * line, 16 : 16 + width] = 130
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = sheet.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = sheet.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def write_localizer(chest: Chest, folder: Path, export: Export | None = None) -> Path:
    return dicom.write(localizer(chest, export), folder / "LOC0001.dcm")


def write_dose_sheet(chest: Chest, folder: Path, export: Export | None = None) -> Path:
    return dicom.write(dose_sheet(chest, export), folder / "DOSE0001.dcm")
