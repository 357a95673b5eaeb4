"""The headers: every attribute that PS3.3 asks of a CT image, PHANTOM in the names, UIDs that follow."""

from __future__ import annotations

import pydicom
import pytest
from pydicom.uid import UID, CTImageStorage, SecondaryCaptureImageStorage

from tools.phantom import (
    Chest,
    Export,
    dose_sheet,
    instances,
    localizer,
    write_dose_sheet,
    write_localizer,
    write_series,
)

# PS3.3 A.3.3: the attributes of type 1 and 2 of the mandatory modules of a CT image.
TYPE_1 = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Modality", "ImageType", "PatientPosition", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PixelData", "RescaleIntercept", "RescaleSlope"),
)
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("ReferringPhysicianName", "AccessionNumber", "SeriesNumber", "Manufacturer", "InstanceNumber"),
    *("PositionReferenceIndicator", "AcquisitionNumber", "SliceThickness", "KVP"),
)
SCANNER = (
    *("ConvolutionKernel", "Exposure", "XRayTubeCurrent", "ExposureTime", "CTDIvol", "SliceLocation"),
    *("ContentTime", "AcquisitionTime", "WindowCenter", "WindowWidth", "StationName", "SoftwareVersions"),
    *("ManufacturerModelName", "ProtocolName", "ReconstructionDiameter", "GantryDetectorTilt"),
    *("BodyPartExamined", "PatientAge", "StudyDescription"),
)


@pytest.fixture(scope="module")
def phantoms(made):
    return [made(Chest("covid", seed, slice_mm=5.0, matrix=64)) for seed in range(4)]


@pytest.fixture(scope="module")
def scout(phantoms):
    return localizer(phantoms[0].chest)


@pytest.fixture(scope="module")
def series(phantoms):
    return [[dataset for _, dataset in instances(phantom)] for phantom in phantoms]


def test_every_image_has_what_the_standard_asks_for(series):
    for images in series:
        for image in images[::20]:
            assert image.SOPClassUID == CTImageStorage
            assert [name for name in TYPE_1 if image.get(name) in (None, "")] == []
            assert [name for name in TYPE_2 if name not in image] == []
            assert [name for name in SCANNER if image.get(name) in (None, "")] == []
            assert image.ImageType[:3] == ["ORIGINAL", "PRIMARY", "AXIAL"]
            assert image.HighBit == image.BitsStored - 1
            assert len(image.PixelData) == 2 * image.Rows * image.Columns
            assert float(image.KVP) == 120


def test_values_are_valid_for_their_representation(tmp_path, phantoms):
    for phantom in phantoms:
        for path in write_series(phantom, tmp_path / str(phantom.chest.seed))[:2]:
            with pydicom.config.disable_value_validation():
                written = pydicom.dcmread(path)
            for element in written.iterall():
                pydicom.DataElement(
                    element.tag, element.VR, element.value, validation_mode=pydicom.config.RAISE
                )


def test_the_four_vendors_differ(series):
    first = [images[0] for images in series]
    assert len({image.Manufacturer for image in first}) == 4
    assert len({image.ConvolutionKernel for image in first}) == 4
    assert {image.PixelRepresentation for image in first} == {0, 1}
    assert {int(image.RescaleIntercept) for image in first} == {-1024, 0}


def test_it_says_that_it_is_a_phantom(phantoms, series, scout):
    for dataset in (series[0][0], scout, dose_sheet(phantoms[0].chest)):
        assert str(dataset.PatientName).startswith("PHANTOM^")
        assert dataset.PatientID.startswith("PHANTOM")
        assert "PHANTOM" in dataset.ImageComments
        assert "PHANTOM" in dataset.SeriesDescription


def test_uids_are_valid_unique_and_the_same_every_time(phantoms, series):
    images = series[0]
    again = [dataset for _, dataset in instances(phantoms[0])]
    assert [image.SOPInstanceUID for image in images] == [image.SOPInstanceUID for image in again]
    assert len({image.SOPInstanceUID for image in images}) == len(images)
    assert len({image.SeriesInstanceUID for image in images}) == 1
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert UID(images[0][name].value).is_valid
    assert images[0].file_meta.MediaStorageSOPInstanceUID == images[0].SOPInstanceUID


def test_other_options_are_another_series(phantoms):
    exports = [
        Export(),
        Export("FFS"),
        Export(reverse_instances=True),
        Export(series_number=3),
        Export(padding=True),
    ]
    first = [next(instances(phantoms[0], export))[1] for export in exports]
    assert len({image.SeriesInstanceUID for image in first}) == len(exports)
    assert len({image.StudyInstanceUID for image in first}) == len(exports)


def test_series_join_a_study_on_request(phantoms):
    exports = [Export(study="2.25.77", series_number=number) for number in (2, 3)]
    first, second = (next(instances(phantoms[0], export))[1] for export in exports)
    assert first.StudyInstanceUID == second.StudyInstanceUID == "2.25.77"
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_instances_come_in_order_and_time_moves_on(series):
    images = series[1]
    assert [image.InstanceNumber for image in images] == list(range(1, len(images) + 1))
    times = [image.ContentTime for image in images]
    assert times == sorted(times)
    assert len(set(times)) == len(times)
    assert images[0].StudyTime < images[0].SeriesTime <= images[0].AcquisitionTime < images[0].ContentTime


def test_padding_fills_the_corners_with_the_value_that_the_header_names(phantoms):
    phantom = phantoms[1]
    image = next(instances(phantom, Export(padding=True)))[1]
    stored = image.pixel_array
    assert image["PixelPaddingValue"].VR == "SS"
    assert stored[0, 0] == stored[-1, -1] == image.PixelPaddingValue == -2000
    assert stored[32, 32] + int(image.RescaleIntercept) == phantom.hu[-1, 32, 32]
    assert 0.15 < (stored == -2000).mean() < 0.25


def test_the_localizer_is_a_coronal_projection_of_the_same_study(phantoms, series, scout):
    image = scout
    assert image.SOPClassUID == CTImageStorage
    assert image.ImageType == ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    assert image.ImageOrientationPatient == [1, 0, 0, 0, 0, -1]
    assert image.StudyInstanceUID == series[0][0].StudyInstanceUID
    assert image.FrameOfReferenceUID == series[0][0].FrameOfReferenceUID
    assert image.SeriesInstanceUID != series[0][0].SeriesInstanceUID
    origin, (thick, pixel, _) = phantoms[0].origin_mm, phantoms[0].spacing_mm
    top = origin[2] + thick * (len(phantoms[0].hu) - 0.5)
    assert image.ImagePositionPatient[2] == pytest.approx(top - 1)
    assert image.ImagePositionPatient[0] == pytest.approx(origin[0] - pixel / 2 + 1)
    assert image.Rows * 2 == pytest.approx(thick * len(phantoms[0].hu), abs=1)
    shadow = image.pixel_array.astype(int)
    spine, lung = shadow[:, 95:105], shadow[60:80, 55:70]
    assert spine.mean() > lung.mean() + 100


def test_the_dose_sheet_is_a_derived_picture_of_the_same_study(phantoms, series):
    sheet = dose_sheet(phantoms[0].chest)
    assert sheet.SOPClassUID == SecondaryCaptureImageStorage
    assert sheet.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert sheet.StudyInstanceUID == series[0][0].StudyInstanceUID
    assert "ImagePositionPatient" not in sheet
    assert sheet.pixel_array.shape == (256, 256)
    assert sheet.pixel_array.any()


def test_nothing_but_the_files_is_left_in_the_folder(phantoms, tmp_path):
    files = write_series(phantoms[0], tmp_path)
    files.append(write_localizer(phantoms[0].chest, tmp_path))
    files.append(write_dose_sheet(phantoms[0].chest, tmp_path))
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(pydicom.dcmread(path).Modality == "CT" for path in files)


def test_the_same_series_is_the_same_bytes(phantoms, tmp_path):
    one, two = (write_series(phantoms[0], tmp_path / name, Export(syntax="jpeg-lossless")) for name in "ab")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_failed_write_leaves_no_part(phantoms, tmp_path):
    (tmp_path / "IM0001.dcm").mkdir()
    (tmp_path / "IM0001.dcm" / "in the way").touch()
    with pytest.raises(OSError, match="directory"):
        write_series(phantoms[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["IM0001.dcm"]
