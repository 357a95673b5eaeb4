"""Phantoms as DICOM: CT Image Storage (PS3.3 A.3) with headers as rich as a scanner's."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)
from pydicom.valuerep import DSfloat

from tools.phantom.anatomy import anatomy_of
from tools.phantom.chest import Chest, Phantom
from tools.phantom.export import Export, stored
from tools.phantom.vendors import Vendor, vendor_of

_SYNTAX = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "jpeg-lossless": JPEGLosslessSV1,
}
_NAMESPACE = uuid.UUID("6f0c2d4e-6a55-5f0b-9f0e-2d3c5a4b7e11")
_IMPLEMENTATION = "2.25.108144541526012374318925190632312711907"
_NOTE = "PHANTOM: computed, not a patient"


def uid(*parts: object) -> str:
    """A UID that the parts determine (PS3.5 B.2: 2.25 and a UUID as a whole number)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, parts))).int}"


def study_uid(chest: Chest, export: Export) -> str:
    return export.study or uid("study", chest, export)


def _ds(value: float) -> DSfloat:
    return DSfloat(round(float(value), 9) + 0.0, auto_format=True)


def _code(value: str, meaning: str) -> Dataset:
    """A code of the DICOM terminology (PS3.16)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _tm(moment: datetime.datetime) -> str:
    return moment.strftime("%H%M%S.%f")


def _start(chest: Chest) -> datetime.datetime:
    """When the study began: a working day of the year 2020, by the seed."""
    day, minute = chest.seed % 250, (chest.seed * 37) % 600
    return datetime.datetime(2020, 1, 6) + datetime.timedelta(days=day, hours=8, minutes=minute)


def syntax_of(export: Export) -> str:
    return _SYNTAX[export.syntax]


def envelope(sop_class: str, syntax: str) -> FileDataset:
    """An empty instance with its file meta information (PS3.10 7.1); `identify` gives it its UID."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    meta.ImplementationVersionName = "SCANLIGHT_PHANTO"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = sop_class
    return dataset


def study_modules(dataset: Dataset, chest: Chest, export: Export, vendor: Vendor) -> None:
    """Patient, General Study, Patient Study and General Equipment modules (PS3.3 C.7.1 to C.7.5)."""
    female = anatomy_of(chest.seed).female
    start = _start(chest)
    dataset.PatientName = f"PHANTOM^{chest.kind.upper()}^{chest.seed}"
    dataset.PatientID = f"PHANTOM-{chest.kind.upper()}-{chest.seed:06d}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "F" if female else "M"
    dataset.PatientAge = f"{30 + chest.seed * 7 % 50:03d}Y"
    dataset.PatientSize = _ds(1.64 if female else 1.77)
    dataset.PatientWeight = _ds(66 if female else 79)
    dataset.StudyInstanceUID = study_uid(chest, export)
    dataset.StudyID = str(1000 + chest.seed % 9000)
    dataset.StudyDate = dataset.SeriesDate = start.strftime("%Y%m%d")
    dataset.StudyTime = _tm(start)
    dataset.AccessionNumber = f"PH{chest.seed:08d}"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "PHANTOM CT chest without contrast"
    dataset.Manufacturer = vendor.manufacturer
    dataset.ManufacturerModelName = vendor.model
    dataset.InstitutionName = "Scanlight Phantom Hospital"
    dataset.StationName = vendor.station
    dataset.SoftwareVersions = vendor.software
    dataset.DeviceSerialNumber = f"{90000 + chest.seed % 4}"


def series_modules(
    dataset: Dataset,
    chest: Chest,
    export: Export,
    *,
    kind: str,
    number: int,
    description: str,
    minutes: float,
) -> None:
    """General Series module (PS3.3 C.7.3.1) and times; `minutes` after the start of the study."""
    moment = _start(chest) + datetime.timedelta(minutes=minutes)
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = uid("series", kind, study_uid(chest, export), chest, export)
    dataset.SeriesNumber = number
    dataset.SeriesTime = _tm(moment)
    dataset.SeriesDescription = f"PHANTOM {description}"
    dataset.ImageComments = _NOTE
    dataset.BodyPartExamined = "CHEST"
    dataset.AcquisitionDate = dataset.ContentDate = moment.strftime("%Y%m%d")
    dataset.AcquisitionTime = dataset.ContentTime = dataset.SeriesTime
    dataset.BurnedInAnnotation = "NO"
    number_instance(dataset, 1)


def number_instance(dataset: Dataset, number: int) -> None:
    """SOP Common module (PS3.3 C.12.1): the UID follows from the series and the number."""
    dataset.InstanceNumber = number
    dataset.SOPInstanceUID = uid("instance", dataset.SeriesInstanceUID, number)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def frame_module(dataset: Dataset, export: Export) -> None:
    """Frame of Reference module (PS3.3 C.7.4.1): one for the study, as the patient does not move."""
    dataset.PatientPosition = export.position
    dataset.FrameOfReferenceUID = uid("frame", dataset.StudyInstanceUID)
    dataset.PositionReferenceIndicator = ""


def plane_module(
    dataset: Dataset,
    position: Sequence[float],
    orientation: Sequence[float],
    spacing: tuple[float, float],
    thickness: float,
) -> None:
    """Image Plane module (PS3.3 C.7.6.2); spacing is (between rows, between columns) in mm."""
    dataset.ImagePositionPatient = [_ds(value) for value in position]
    dataset.ImageOrientationPatient = [_ds(value) for value in orientation]
    dataset.PixelSpacing = [_ds(value) for value in spacing]
    dataset.SliceThickness = _ds(thickness)


def hounsfield_module(dataset: Dataset, vendor: Vendor) -> None:
    """Rescale of the CT Image module (PS3.3 C.8.2.1) and two windows (C.11.2)."""
    dataset.AcquisitionNumber = 1
    dataset.RescaleIntercept = _ds(vendor.intercept)
    dataset.RescaleSlope = _ds(1)
    dataset.RescaleType = "HU"
    dataset.WindowCenter = [_ds(40), _ds(-600)]
    dataset.WindowWidth = [_ds(400), _ds(1500)]
    dataset.WindowCenterWidthExplanation = ["MEDIASTINUM", "LUNG"]


def pixel_module(dataset: Dataset, values: npt.NDArray[np.integer], vendor: Vendor, syntax: str) -> None:
    """Image Pixel module (PS3.3 C.7.6.3) from stored values [rows, columns]."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = vendor.bits_stored
    dataset.HighBit = vendor.bits_stored - 1
    dataset.PixelRepresentation = int(vendor.signed)
    words = np.ascontiguousarray(values, dtype="<i2" if vendor.signed else "<u2").view("<u2")
    if syntax == "jpeg-lossless":
        frame = imagecodecs.jpeg8_encode(words, lossless=True, predictor=1, bitspersample=vendor.bits_stored)
        dataset.PixelData = encapsulate([bytes(frame)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    else:
        dataset.PixelData = words.tobytes()
        dataset["PixelData"].VR = "OW"


def _corners(shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    y, x = rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2
    outside: npt.NDArray[np.bool_] = np.hypot(y / shape[0], x / shape[1]) > 0.5
    return outside


def exposure_modules(dataset: Dataset, chest: Chest, vendor: Vendor) -> None:
    """What the CT Image module says of tube and beam (PS3.3 C.8.2.1); the dose goes with the noise."""
    dose = min(60.0, 2.9 * (24.0 / max(chest.noise_hu, 4.0)) ** 2)
    dataset.KVP = _ds(120)
    dataset.ExposureTime = 500
    dataset.XRayTubeCurrent = round(60 * dose)
    dataset.Exposure = round(30 * dose)
    dataset.CTDIvol = round(dose, 3)
    dataset.CTDIPhantomTypeCodeSequence = [_code("113691", "IEC Body Dosimetry Phantom")]
    dataset.FilterType = "BODY FILTER"
    dataset.GeneratorPower = round(0.12 * 60 * dose)
    dataset.FocalSpots = _ds(vendor.focal_spot_mm)
    dataset.ConvolutionKernel = vendor.kernels[chest.kernel]
    dataset.ScanOptions = "HELICAL MODE"
    dataset.DataCollectionDiameter = _ds(500)
    dataset.ReconstructionDiameter = _ds(chest.fov_mm)
    dataset.DistanceSourceToDetector = _ds(vendor.detector_mm)
    dataset.DistanceSourceToPatient = _ds(vendor.source_mm)
    dataset.RotationDirection = "CW"
    dataset.RevolutionTime = 0.5
    dataset.SingleCollimationWidth = vendor.single_collimation_mm
    dataset.TotalCollimationWidth = vendor.total_collimation_mm
    dataset.SpiralPitchFactor = 1.0
    dataset.TableFeedPerRotation = vendor.total_collimation_mm
    dataset.TableSpeed = 2 * vendor.total_collimation_mm
    dataset.ProtocolName = vendor.protocol


def _image_type(export: Export, vendor: Vendor) -> list[str]:
    if export.image_type:
        return list(export.image_type)
    if export.plane != "axial":
        return ["DERIVED", "SECONDARY", "REFORMATTED"]
    return ["ORIGINAL", "PRIMARY", "AXIAL", *([vendor.flavour] if vendor.flavour else [])]


def instances(phantom: Phantom, export: Export | None = None) -> Iterator[tuple[str, Dataset]]:
    """The series, one (file name, dataset) after the other in the order of the scanner."""
    export = export or Export()
    chest, vendor = phantom.chest, vendor_of(phantom.chest.seed)
    images = stored(phantom, export)
    thickness, *in_plane = images.spacing_mm
    description = f"Chest {vendor.kernels[chest.kernel]} {thickness:g} mm"
    corners = _corners(images.hu.shape[1:3])
    normal = np.cross(images.row, images.column)
    start = _start(chest) + datetime.timedelta(minutes=4)
    for index, hu in enumerate(images.hu):
        dataset = envelope(CTImageStorage, syntax_of(export))
        study_modules(dataset, chest, export, vendor)
        series_modules(
            dataset,
            chest,
            export,
            kind="chest",
            number=export.series_number,
            description=description,
            minutes=4,
        )
        number_instance(dataset, index + 1)
        scanned = start + datetime.timedelta(seconds=0.05 * index)
        dataset.AcquisitionTime = _tm(scanned)
        dataset.ContentTime = _tm(scanned + datetime.timedelta(seconds=6))
        dataset.ImageType = _image_type(export, vendor)
        frame_module(dataset, export)
        position = images.position(index)
        plane_module(
            dataset,
            position=position.tolist(),
            orientation=[*images.row.tolist(), *images.column.tolist()],
            spacing=(in_plane[0], in_plane[1]),
            thickness=thickness,
        )
        dataset.SliceLocation = _ds(
            float(position[2]) if export.plane == "axial" else float(position @ normal)
        )
        exposure_modules(dataset, chest, vendor)
        dataset.GantryDetectorTilt = _ds(export.tilt_deg)
        dataset.TableHeight = _ds(150 + chest.seed % 20)
        hounsfield_module(dataset, vendor)
        values = hu.astype(np.int32) - vendor.intercept
        if export.padding:
            values = np.where(corners, vendor.padding, values)
            dataset.add_new("PixelPaddingValue", "SS" if vendor.signed else "US", vendor.padding)
        pixel_module(dataset, values, vendor, export.syntax)
        yield f"IM{index + 1:04d}.dcm", dataset


def write(dataset: Dataset, path: Path) -> Path:
    """Writes one file under its final name at once, so that a reader never sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        dataset.save_as(part, enforce_file_format=True)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def write_series(phantom: Phantom, folder: Path, export: Export | None = None) -> list[Path]:
    """Writes the series into the folder and returns its files in the order of the scanner."""
    return [write(dataset, folder / name) for name, dataset in instances(phantom, export)]
