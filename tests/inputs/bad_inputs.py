"""Bad inputs by name: how each comes to lie in an export folder. `docs/inputs.md` says what becomes of it.

A builder has a folder of its own and the slices of a whole small chest, a series of its own. One that takes
its time is a generator, to be gone on with while the daemon runs.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

Slices = list[FileDataset]
Builder = Callable[[Path, Slices], Iterator[None] | None]

MIDDLE = 30
"""The slice that is made bad where one is enough."""

BUILDERS: dict[str, Builder] = {}


def bad(builder: Builder) -> Builder:
    BUILDERS[builder.__name__] = builder
    return builder


def series_uid(name: str) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'big')}"


def series_uid_in(folder: Path) -> str:
    return str(pydicom.dcmread(next(folder.iterdir())).SeriesInstanceUID)


def chest(name: str, files: Sequence[Path]) -> Slices:
    """The slices in these files as a series of its own, by the name."""
    slices = [pydicom.dcmread(file) for file in files]
    for index, one in enumerate(slices, 1):
        one.StudyInstanceUID, one.SeriesInstanceUID = f"{series_uid(name)}.1", series_uid(name)
        identify(one, f"{series_uid(name)}.2.{index}")
    return slices


def identify(one: FileDataset, uid: str) -> None:
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = uid


def save(slices: Sequence[FileDataset], folder: Path, first: int = 1) -> list[Path]:
    paths = []
    for number, one in enumerate(slices, first):
        paths.append(folder / f"IM{number:04d}.dcm")
        one.save_as(paths[-1], enforce_file_format=True)
    return paths


def shorten(path: Path, by: int) -> None:
    os.truncate(path, path.stat().st_size - by)


def to_jpeg_lossless(one: FileDataset) -> bytes:
    stream = imagecodecs.jpeg8_encode(
        one.pixel_array.astype("<i2").view("<u2"), lossless=True, predictor=1, bitspersample=16
    )
    one.BitsStored, one.HighBit = 16, 15
    one.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    set_stream(one, stream)
    return stream


def set_stream(one: FileDataset, stream: bytes) -> None:
    one.PixelData = encapsulate([stream])
    one["PixelData"].VR = "OB"
    one["PixelData"].is_undefined_length = True


# Files


@bad
def truncated_file(folder: Path, slices: Slices) -> None:
    shorten(save(slices, folder)[MIDDLE], 1000)


@bad
def truncated_header(folder: Path, slices: Slices) -> None:
    (path,) = save(slices[:1], folder)
    os.truncate(path, 700)


@bad
def empty_file(folder: Path, slices: Slices) -> None:
    (folder / "IM0001.dcm").touch()


@bad
def growing_file(folder: Path, slices: Slices) -> Iterator[None]:
    path = save(slices, folder)[MIDDLE]
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    with path.open("ab", buffering=0) as file:
        for part in range(500, len(whole), len(whole) // 9):
            yield
            file.write(whole[part : part + len(whole) // 9])


@bad
def vanishing_file(folder: Path, slices: Slices) -> None:
    """The one that is missing comes and goes."""
    missing_slice(folder, slices)


@bad
def text_named_dcm(folder: Path, slices: Slices) -> None:
    (folder / "report.dcm").write_text("The report of a patient, saved under a wrong name.\n")


@bad
def no_preamble(folder: Path, slices: Slices) -> None:
    """Every second file without file meta information, too."""
    for number, path in enumerate(save(slices, folder)):
        data = path.read_bytes()
        (length,) = struct.unpack_from("<L", data, 140)
        path.write_bytes(data[132 + (12 + length) * (number % 2) :])


@bad
def deflate_bomb(folder: Path, slices: Slices) -> None:
    one = slices[0]
    one.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    one.add_new(0x00110010, "LO", "SOMEBODY")
    one.add_new(0x00111001, "OB", bytes(400 << 20))
    save([one], folder)


@bad
def unreadable_file(folder: Path, slices: Slices) -> None:
    save(slices[:1], folder)[0].chmod(0)


# Headers


@bad
def no_pixels(folder: Path, slices: Slices) -> None:
    for one in slices:
        del one.PixelData
    save(slices, folder)


@bad
def object_among_slices(folder: Path, slices: Slices) -> None:
    report = copy.deepcopy(slices[0])
    del report.PixelData
    identify(report, f"{report.SOPInstanceUID}.0")
    save([*slices, report], folder)


@bad
def missing_rescale(folder: Path, slices: Slices) -> None:
    for one in slices:
        del one.RescaleSlope, one.RescaleIntercept
    save(slices, folder)


@bad
def odd_character_sets(folder: Path, slices: Slices) -> None:
    """One that Python does not know, with bytes of another one in names and kernel."""
    for one in slices:
        one.SpecificCharacterSet, one.PatientName, one.ConvolutionKernel = "ISO_IR 100", "Müller^Jörg", "B3ö"
    for path in save(slices, folder):
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))


@bad
def path_traversal_in_uids(folder: Path, slices: Slices) -> None:
    with pydicom.config.disable_value_validation():
        for number, one in enumerate(slices):
            one.StudyInstanceUID, one.SeriesInstanceUID = "/etc/scanlight", "../../../../escaped"
            identify(one, f"../{number}")
        save(slices, folder)


@bad
def mixed_patients(folder: Path, slices: Slices) -> None:
    slices[MIDDLE].PatientID = "ANOTHER"
    save(slices, folder)


# Pixels


@bad
def rows_against_bytes(folder: Path, slices: Slices) -> None:
    slices[MIDDLE].Rows += 1
    save(slices, folder)


@bad
def undecodable_syntax(folder: Path, slices: Slices) -> None:
    for one in slices:
        one.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
        set_stream(one, bytes(100))
    save(slices, folder)


@bad
def truncated_jpeg_stream(folder: Path, slices: Slices) -> None:
    for number, one in enumerate(slices):
        stream = to_jpeg_lossless(one)
        if number == MIDDLE:
            set_stream(one, stream[: len(stream) // 2])
    save(slices, folder)


@bad
def falsified_jpeg_size(folder: Path, slices: Slices) -> None:
    for number, one in enumerate(slices):
        stream = bytearray(to_jpeg_lossless(one))
        if number == MIDDLE:
            start = stream.index(b"\xff\xc3")
            stream[start + 5 : start + 9] = struct.pack(">HH", 32767, 32767)
            set_stream(one, bytes(stream))
    save(slices, folder)


# Places


@bad
def missing_slice(folder: Path, slices: Slices) -> None:
    save(slices[:MIDDLE], folder)
    save(slices[MIDDLE + 1 :], folder, MIDDLE + 2)


@bad
def one_slice(folder: Path, slices: Slices) -> None:
    save(slices[MIDDLE : MIDDLE + 1], folder)


@bad
def copied_file(folder: Path, slices: Slices) -> None:
    path = save(slices, folder)[MIDDLE]
    (folder / "copy.dcm").write_bytes(path.read_bytes())


@bad
def corrected_file(folder: Path, slices: Slices) -> None:
    """The same instance, at the same place, with other pixels."""
    save(slices, folder)
    save([brighter(slices[MIDDLE])], folder, len(slices) + 1)


@bad
def same_place_same_pixels(folder: Path, slices: Slices) -> None:
    again = copy.deepcopy(slices[MIDDLE])
    identify(again, f"{again.SOPInstanceUID}.0")
    save([*slices, again], folder)


@bad
def same_place_other_pixels(folder: Path, slices: Slices) -> None:
    again = brighter(slices[MIDDLE])
    identify(again, f"{again.SOPInstanceUID}.0")
    save([*slices, again], folder)


def brighter(one: FileDataset) -> FileDataset:
    other = copy.deepcopy(one)
    other.PixelData = (np.frombuffer(other.PixelData, "<u2") ^ 1).tobytes()
    return other


@bad
def one_uid_for_all(folder: Path, slices: Slices) -> None:
    for one in slices:
        identify(one, slices[0].SOPInstanceUID)
    save(slices, folder)


@bad
def mixed_orientations(folder: Path, slices: Slices) -> None:
    slices[MIDDLE].ImageOrientationPatient = [0, 1, 0, -1, 0, 0]
    save(slices, folder)


@bad
def mixed_sizes(folder: Path, slices: Slices) -> None:
    one = slices[MIDDLE]
    one.PixelData = np.frombuffer(one.PixelData, "<u2").reshape(one.Rows, one.Columns)[::2, ::2].tobytes()
    one.Rows, one.Columns = one.Rows // 2, one.Columns // 2
    one.PixelSpacing = [2 * one.PixelSpacing[0], 2 * one.PixelSpacing[1]]
    save(slices, folder)


@bad
def gantry_tilt(folder: Path, slices: Slices) -> None:
    for one in slices:
        x, y, z = one.ImagePositionPatient
        one.ImagePositionPatient = [x, round(y + float(np.tan(np.radians(10))) * z, 3), z]
    save(slices, folder)


# What is no file of images


@bad
def symlink(folder: Path, slices: Slices) -> None:
    (folder / "IM0001.dcm").symlink_to(str(slices[0].filename))
    (folder / "study").symlink_to(Path(str(slices[0].filename)).parent)
    (folder / "dangling.dcm").symlink_to("nowhere")
    (folder / "circle").symlink_to("circle")


@bad
def fifo(folder: Path, slices: Slices) -> None:
    os.mkfifo(folder / "IM0001.dcm")


@bad
def device(folder: Path, slices: Slices) -> None:
    """Raises PermissionError where nobody may make one."""
    os.mknod(folder / "IM0001.dcm", stat.S_IFCHR | 0o600, os.makedev(1, 5))


@bad
def unreadable_folder(folder: Path, slices: Slices) -> None:
    closed = folder / "closed"
    closed.mkdir()
    save(slices, closed)
    closed.chmod(0)


def put(name: str, files: Sequence[Path], export: Path) -> Iterator[None] | None:
    """Let a bad input appear in an export folder, all at once; what goes on with it, if anything does."""
    builder = BUILDERS[name]
    if inspect.isgeneratorfunction(builder):
        (export / name).mkdir()
        return builder(export / name, chest(name, files))
    made = export.parent / name
    made.mkdir()
    builder(made, chest(name, files))
    made.rename(export / name)
    return None
