"""`scanlight phantom`, and the known-answer series that the appliance ships."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import typer
from pydicom.encaps import generate_frames
from typer.testing import CliRunner

from tools.phantom.command import phantom
from tools.phantom.known_answers import FOLDER, write_known_answers

SMALL = ["--matrix", "64", "--slice-mm", "5"]


def run(*arguments):
    app = typer.Typer()
    app.command()(phantom)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_it_writes_a_series_and_a_mask_for_each_patient(tmp_path):
    done = run(tmp_path, *SMALL, "--kind", "cap", "--seed", 2, "--count", 2, "--mask")
    assert done.exit_code == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        f"{tmp_path}/cap-0002",
        f"{tmp_path}/cap-0003",
    ]
    names = {"cap-0002", "cap-0003", "cap-0002.mask.npz", "cap-0003.mask.npz"}
    assert {path.name for path in tmp_path.iterdir()} == names
    files = sorted((tmp_path / "cap-0002").glob("*.dcm"))
    mask = np.load(tmp_path / "cap-0002.mask.npz")
    assert mask["lesions"].shape == (len(files), 64, 64)
    assert mask["lesions"].any()
    assert mask["spacing_mm"].tolist() == [5, 6.25, 6.25]


def test_options_and_companions(tmp_path):
    options = ("--position", "FFP", "--syntax", "jpeg-lossless", "--kernel", "sharp", "--companions")
    done = run(tmp_path, *SMALL, *options)
    assert done.exit_code == 0
    image = pydicom.dcmread(tmp_path / "covid-0001" / "IM0001.dcm")
    assert image.PatientPosition == "FFP"
    assert image.ConvolutionKernel == "LUNG"
    assert image.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    everything = [pydicom.dcmread(path) for path in (tmp_path / "covid-0001").rglob("*.dcm")]
    assert {dataset.StudyInstanceUID for dataset in everything} == {image.StudyInstanceUID}
    assert len({dataset.SeriesInstanceUID for dataset in everything}) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--slice-mm", "2.3"], "slice thickness is 2.3 mm: choose a multiple of 0.25 mm from 1 to 5 mm."),
        (["--matrix", "32"], "matrix is 32: choose 64 to 512 pixels."),
        (["--tilt-deg", "80"], "tilt is 80 degrees: choose -45 to 45."),
    ],
)
def test_what_cannot_be_made_gets_one_sentence(tmp_path, arguments, sentence):
    done = run(tmp_path / "out", *arguments)
    assert done.exit_code == 2
    assert done.stderr == sentence + "\n"
    assert not (tmp_path / "out").exists()


def test_an_earlier_series_is_not_mixed_with_a_new_one(tmp_path):
    (tmp_path / "covid-0001").mkdir()
    done = run(tmp_path, *SMALL)
    assert done.exit_code == 2
    assert "exists already: choose another folder" in done.stderr


def test_a_folder_that_cannot_be_written_gets_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    done = run(tmp_path / "file", *SMALL)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr


def read(folder: Path):
    """The files of a known-answer series: HU [z, y, x] from foot to head, and the first header."""
    images = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    images.sort(key=lambda image: image.ImagePositionPatient[2])
    frames = [next(generate_frames(image.PixelData, number_of_frames=1)) for image in images]
    return np.stack([imagecodecs.jpeg8_decode(frame).astype(int) - 1024 for frame in frames]), images[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_known_answers(tmp_path_factory.mktemp("known"))


@pytest.mark.parametrize("name", ["covid-left", "clear"])
def test_the_known_answers_that_ship_are_what_the_code_writes(written, name):
    shipped = sorted((FOLDER / name).glob("*.dcm"))
    assert [path.name for path in shipped] == [path.name for path in written[name]]
    old, old_header = read(FOLDER / name)
    new, new_header = read(written[name][0].parent)
    # The last bit of a mean may differ between processors.
    assert np.abs(old - new).max() <= 1
    assert old_header.SeriesInstanceUID == new_header.SeriesInstanceUID
    assert len(old) >= 20


def test_the_known_answers_stay_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.dcm")) < 1.1e6


@pytest.mark.parametrize(
    "change",
    [
        lambda hu: hu[::-1],
        lambda hu: hu[:, ::-1],
        lambda hu: hu[:, :, ::-1],
        lambda hu: hu.transpose(0, 2, 1),
    ],
    ids=["reversed", "front to back", "left to right", "rows for columns"],
)
def test_every_mix_up_moves_the_ground_glass(change):
    hu, _ = read(FOLDER / "covid-left")
    clear, _ = read(FOLDER / "clear")

    def centre(volume):
        grey = (volume > -650) & (volume < -450)
        solid = grey & np.roll(grey, 1, 1) & np.roll(grey, -1, 1) & np.roll(grey, 1, 2) & np.roll(grey, -1, 2)
        return np.array(np.nonzero(solid)).mean(axis=1) * (5, 3.2, 3.2)

    assert np.linalg.norm(centre(change(hu)) - centre(hu)) > 30
    assert len(clear) >= 20
