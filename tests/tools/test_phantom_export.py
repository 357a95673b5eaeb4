"""Whatever the scanner's axes: the files lead back to the same voxels in the patient frame."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from scipy import ndimage

from tools.phantom import Chest, Export, PhantomError, write_series

POSITIONS = ["HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"]


@pytest.fixture(scope="module")
def phantom(made):
    return made(Chest("covid", seed=2, slice_mm=5.0, matrix=64))


def pixels(dataset):
    """HU of one file, by means other than those that wrote it."""
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        words = imagecodecs.jpeg8_decode(next(generate_frames(dataset.PixelData, number_of_frames=1)))
        words = words.view(np.int16 if dataset.PixelRepresentation else np.uint16)
    else:
        words = dataset.pixel_array
    return words.astype(int) * int(dataset.RescaleSlope) + int(dataset.RescaleIntercept)


def places(dataset):
    """The LPS position in mm of each pixel, [rows, columns, 3] (PS3.3 C.7.6.2.1.1)."""
    first = np.array(dataset.ImagePositionPatient, float)
    along_row = np.array(dataset.ImageOrientationPatient[:3], float)
    along_column = np.array(dataset.ImageOrientationPatient[3:], float)
    between_rows, between_columns = (float(value) for value in dataset.PixelSpacing)
    row, column = np.mgrid[: dataset.Rows, : dataset.Columns][..., None]
    return first + column * between_columns * along_row + row * between_rows * along_column


def voxels(phantom, place):
    """Continuous indices [z, y, x] of positions in the phantom."""
    offset = (place - np.array(phantom.origin_mm)) / np.array(phantom.spacing_mm[::-1])
    return np.moveaxis(offset, -1, 0)[::-1]


def gathered(phantom, files):
    """The volume [z, y, x] that the files describe."""
    hu = np.full(phantom.hu.shape, 9999)
    for path in files:
        dataset = pydicom.dcmread(path)
        index = voxels(phantom, places(dataset))
        assert np.abs(index - np.rint(index)).max() < 1e-3
        hu[tuple(np.rint(index).astype(int))] = pixels(dataset)
    return hu


@pytest.mark.parametrize("position", POSITIONS)
def test_each_patient_position(phantom, tmp_path, position):
    files = write_series(phantom, tmp_path, Export(position=position))
    assert np.array_equal(gathered(phantom, files), phantom.hu)
    dataset = pydicom.dcmread(files[0])
    orientation = np.array(dataset.ImageOrientationPatient, float)
    # Looking into the gantry, a patient with the head first has the normal to the head, else to the feet.
    assert np.cross(orientation[:3], orientation[3:])[2] == (1 if position.startswith("HF") else -1)
    assert dataset.PatientPosition == position


@pytest.mark.parametrize(
    "export",
    [
        Export(flip_rows=True),
        Export(flip_columns=True),
        Export(flip_rows=True, flip_columns=True, reverse_instances=True, position="FFP"),
        Export(plane="coronal"),
        Export(plane="sagittal", reverse_instances=True),
        Export(syntax="implicit"),
        Export(syntax="jpeg-lossless"),
    ],
    ids=str,
)
def test_flips_planes_and_syntaxes(phantom, tmp_path, export):
    files = write_series(phantom, tmp_path, export)
    assert np.array_equal(gathered(phantom, files), phantom.hu)


@pytest.mark.parametrize("seed", range(4))
def test_the_pixel_formats_of_all_vendors_survive_jpeg_lossless(made, tmp_path, seed):
    phantom = made(Chest("covid", seed, slice_mm=5.0, matrix=64))
    files = write_series(phantom, tmp_path, Export(syntax="jpeg-lossless"))
    assert np.array_equal(gathered(phantom, files), phantom.hu)


def test_reversed_instances_are_the_same_files_numbered_the_other_way(phantom, tmp_path):
    up = [pydicom.dcmread(path) for path in write_series(phantom, tmp_path / "a")]
    down = [
        pydicom.dcmread(path)
        for path in write_series(phantom, tmp_path / "b", Export(reverse_instances=True))
    ]
    assert [d.InstanceNumber for d in up] == list(range(1, len(up) + 1))
    assert [d.ImagePositionPatient for d in up] == [d.ImagePositionPatient for d in reversed(down)]
    assert up[0].ImagePositionPatient[2] > up[-1].ImagePositionPatient[2]


@pytest.mark.parametrize(
    "export",
    [Export(tilt_deg=15.0), Export(turn_x_deg=12.0), Export(turn_z_deg=-20.0), Export("FFP", tilt_deg=-8.0)],
    ids=str,
)
def test_leaning_slices_hold_what_lies_at_their_positions(phantom, tmp_path, export):
    files = write_series(phantom, tmp_path, export)
    centre = np.mean(
        [places(pydicom.dcmread(path)).mean(axis=(0, 1)) for path in (files[0], files[-1])], axis=0
    )
    middle = (np.array(phantom.hu.shape) - 1) / 2
    assert voxels(phantom, centre) == pytest.approx(middle, abs=1e-3)
    for path in files[10:40:10]:
        dataset = pydicom.dcmread(path)
        index = voxels(phantom, places(dataset))
        expected = ndimage.map_coordinates(phantom.hu.astype(float), index, order=1, cval=-1024)
        edge = np.any(
            [(i < 0.01) | (i > n - 1.01) for i, n in zip(index, phantom.hu.shape, strict=True)], axis=0
        )
        assert np.abs(pixels(dataset) - expected)[~edge].max() <= 1
        assert (~edge).mean() > 0.3


def test_a_tilted_gantry_shears_the_stack(phantom, tmp_path):
    files = write_series(phantom, tmp_path, Export(tilt_deg=15.0))
    first, second = (pydicom.dcmread(path) for path in files[:2])
    step = np.subtract(second.ImagePositionPatient, first.ImagePositionPatient).astype(float)
    orientation = np.array(first.ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    assert step == pytest.approx([0, 0, -5])
    assert abs(step @ normal) == pytest.approx(5 * np.cos(np.radians(15)))
    assert float(first.GantryDetectorTilt) == 15


@pytest.mark.parametrize(
    "export",
    [
        Export("HFS"),
        Export("FFS", syntax="jpeg-lossless"),
        Export("HFP", syntax="implicit", flip_rows=True),
        Export("FFDR", reverse_instances=True),
        Export(plane="coronal"),
    ],
    ids=str,
)
def test_simpleitk_reads_it_in_the_same_frame(phantom, tmp_path, export):
    sitk = pytest.importorskip("SimpleITK")
    write_series(phantom, tmp_path, export)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = sitk.DICOMOrient(reader.Execute(), "LPS")
    assert np.array_equal(sitk.GetArrayFromImage(image), phantom.hu)
    assert image.GetOrigin() == pytest.approx(phantom.origin_mm, abs=1e-4)
    assert image.GetSpacing() == pytest.approx(phantom.spacing_mm[::-1], abs=1e-4)
    assert image.GetDirection() == pytest.approx((1, 0, 0, 0, 1, 0, 0, 0, 1), abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"position": "XYZ"}, "position is 'XYZ': choose one of HFS, HFP, HFDR, HFDL, FFS, FFP, FFDR, FFDL."),
        ({"syntax": "mp4"}, "syntax is 'mp4': choose one of explicit, implicit, jpeg-lossless."),
        ({"tilt_deg": 60.0}, "tilt is 60 degrees: choose -45 to 45."),
        (
            {"tilt_deg": 10.0, "plane": "coronal"},
            "a gantry tilt needs axial slices: leave out one of the two.",
        ),
    ],
)
def test_an_export_out_of_range_gets_one_sentence(fields, sentence):
    with pytest.raises(PhantomError) as refused:
        Export(**fields)
    assert str(refused.value) == sentence
