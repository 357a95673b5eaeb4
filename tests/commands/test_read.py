"""scanlight read, as a user has it: a process, a tree of files, records and an exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from command import scanlight
from sample_bundle import make_bundle

from engines.bundle import embedded_model
from tools.phantom import Chest, Export, make_chest, write_dose_sheet, write_localizer, write_series

SmallChest = Callable[[str], list[Path]]

MODEL = ("--model", embedded_model("densitometry"))


def read(*words: str | Path) -> tuple[int, list[dict[str, Any]], str]:
    done = scanlight("read", "--json", *MODEL, *words)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def copies(files: list[Path], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
        made.append(folder / file.name)
    return made


def test_a_chest_is_read_with_its_geometry_and_digest(small_chest: SmallChest) -> None:
    folder = small_chest("covid")[0].parent
    code, (record,), errors = read(folder, "--digest")
    assert (code, errors) == (0, "")
    assert (record["outcome"], record["reason"], record["in_flight"]) == ("flagged", None, False)
    assert record["size"] == [record["slices"], 128, 128]
    assert record["spacing_mm"] == pytest.approx([5.0, 3.125, 3.125])
    assert record["orientation"] == [1, 0, 0, 0, 1, 0]
    assert len(record["hu_sha256"]) == 64
    assert read(folder)[1][0]["hu_sha256"] is None
    assert read(folder)[1][0]["reading_key"] == record["reading_key"]


def test_companions_of_a_chest_are_skipped_with_their_geometry(tmp_path: Path) -> None:
    chest = Chest(kind="clear", seed=1, matrix=64, slice_mm=5.0)
    write_localizer(chest, tmp_path / "a", Export())
    write_dose_sheet(chest, tmp_path / "b", Export())
    code, records, _ = read(tmp_path)
    assert code == 0
    assert sorted((one["outcome"], one["reason"]) for one in records) == [
        ("skipped", "derived"),
        ("skipped", "localizer"),
    ]


def test_half_a_chest_is_not_analysed(small_chest: SmallChest, tmp_path: Path) -> None:
    files = small_chest("clear")
    copies(files[: len(files) // 2], tmp_path)
    code, (record,), _ = read(tmp_path)
    assert (code, record["outcome"], record["reason"]) == (3, "not_analysed", "incomplete_lung")


def test_a_flag_stands_although_lung_is_cut_off(small_chest: SmallChest, tmp_path: Path) -> None:
    files = small_chest("covid")
    copies(files[: len(files) * 2 // 3], tmp_path / "a")
    copies(files[len(files) // 3 :], tmp_path / "b")
    outcomes = {read(tmp_path / half)[1][0]["outcome"] for half in "ab"}
    assert "flagged" in outcomes
    assert outcomes <= {"flagged", "not_analysed"}


def test_a_chest_with_one_lung_whited_out_is_read(tmp_path: Path) -> None:
    chest = Chest(kind="clear", seed=3, matrix=128, slice_mm=5.0, whiteout="right")
    write_series(make_chest(chest), tmp_path, Export())
    code, (record,), _ = read(tmp_path)
    assert (code, record["reason"]) == (0, None)
    assert record["probability"] is not None


def test_a_damaged_slice_costs_its_series_and_names_the_file(small_chest: SmallChest, tmp_path: Path) -> None:
    copies(small_chest("covid"), tmp_path / "whole")
    broken = copies(small_chest("clear"), tmp_path / "broken")[20]
    broken.write_bytes(broken.read_bytes()[:-1000])
    code, records, _ = read(tmp_path)
    outcomes = {one["outcome"]: one for one in records}
    assert code == 3
    assert set(outcomes) == {"flagged", "not_analysed"}
    assert outcomes["not_analysed"]["reason"] == "damaged_pixels"
    assert broken.name in outcomes["not_analysed"]["detail"]


def test_a_missing_slice_is_refused(small_chest: SmallChest, tmp_path: Path) -> None:
    files = small_chest("covid")
    copies(files[:25] + files[26:], tmp_path)
    code, (record,), _ = read(tmp_path)
    assert (code, record["outcome"], record["reason"]) == (3, "not_analysed", "missing_slice")


def test_what_only_claims_to_be_dicom_fails_and_what_does_not_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_text("hello")
    (tmp_path / "README.md").write_text("hello")
    code, (record,), errors = read(tmp_path)
    assert (code, record["outcome"], record["reason"]) == (3, "failed", "unreadable")
    assert record["series_uid"] is None
    assert record["path"] == str(tmp_path / "scan.dcm")
    assert "1 other file" in errors


def test_links_are_followed_and_copies_count_once(small_chest: SmallChest, tmp_path: Path) -> None:
    for number, file in enumerate(small_chest("covid")):
        (tmp_path / f"{number}").symlink_to(file)
    copies(small_chest("covid")[:3], tmp_path / "again")
    _, (record,), _ = read(tmp_path)
    assert (record["outcome"], record["slices"]) == ("flagged", len(small_chest("covid")))


def changed(files: list[Path], folder: Path, **elements: object) -> Path:
    """Copies of the files with other header values; None takes an element away."""
    for file in copies(files, folder):
        dataset = pydicom.dcmread(file)
        for name, value in elements.items():
            if value is None:
                delattr(dataset, name)
            else:
                dataset.add_new(name, pydicom.datadict.dictionary_VR(name), value)
        dataset.save_as(file)
    return folder


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"RescaleIntercept": "1e308"}, "missing_rescale"),
        ({"RescaleSlope": "1e300"}, "missing_rescale"),
        ({"PixelSpacing": None}, "mixed_size"),
        ({"PixelSpacing": ["0", "0"]}, "mixed_size"),
        ({"PixelSpacing": ["1e-9", "1e-9"]}, "mixed_size"),
        ({"ImagePositionPatient": ["1e300", "0", "0"]}, "mixed_orientation"),
    ],
    ids=str,
)
def test_impossible_numbers_cost_their_series_alone(
    elements: dict[str, object], reason: str, small_chest: SmallChest, tmp_path: Path
) -> None:
    changed(small_chest("clear"), tmp_path / "bad", **elements)
    copies(small_chest("covid"), tmp_path / "good")
    code, records, _ = read(tmp_path)
    assert code == 3
    assert {(one["outcome"], one["reason"]) for one in records} == {
        ("flagged", None),
        ("not_analysed", reason),
    }


def test_names_that_are_not_utf8_are_read_and_reported(small_chest: SmallChest, tmp_path: Path) -> None:
    copies(small_chest("covid"), tmp_path)
    for name in (b"r\xe9sum\xe9.txt", b"M\xfcller.dcm"):
        (tmp_path / os.fsdecode(name)).write_text("hello")
    first = next(tmp_path.glob("IM*"))
    first.rename(tmp_path / os.fsdecode(b"M\xfcller-1.dcm"))
    code, records, _ = read(tmp_path)
    assert code == 3
    assert sorted(str(one["reason"]) for one in records) == ["None", "unreadable"]
    assert next(one["path"] for one in records if one["path"]).endswith("M\\xfcller.dcm")


def test_an_unknown_transfer_syntax_is_named(small_chest: SmallChest, tmp_path: Path) -> None:
    for file in copies(small_chest("covid"), tmp_path):
        dataset = pydicom.dcmread(file)
        frame = b"\x00" * 100
        dataset.PixelData = pydicom.encaps.encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
        dataset.save_as(file)
    _, (record,), _ = read(tmp_path)
    assert (record["outcome"], record["reason"]) == ("not_analysed", "unsupported_syntax")
    assert "MPEG2" in record["detail"]


@pytest.mark.parametrize(
    "words",
    [["/nowhere/at/all"], [".", "--model", "x.onnx", "--bundle", "y"], [".", "--model", "x.onnx"], []],
)
def test_usage_errors_exit_with_2(words: list[str]) -> None:
    code, records, errors = read(*words)
    assert (code, records) == (2, [])
    assert errors


def test_a_table_for_people(small_chest: SmallChest) -> None:
    done = scanlight("read", *MODEL, small_chest("covid")[0].parent, env={"COLUMNS": "120"})
    assert done.returncode == 0
    assert "flagged" in done.stdout
    assert "not CSAC-Net" in done.stdout


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_plan_that_does_not_run_here_is_said_with_the_reason(tmp_path: Path, as_json: list[str]) -> None:
    # A plan of four bytes runs nowhere, whatever GPU there is.
    bundle = make_bundle(tmp_path / "bundle")
    write_dose_sheet(Chest(kind="clear", seed=1, matrix=64), tmp_path / "sheet", Export())
    done = scanlight("read", *as_json, "--bundle", bundle, tmp_path / "sheet")
    assert done.returncode == 0, done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("The processor reads, not the bundle's plan: ")
    assert len(said) > len("The processor reads, not the bundle's plan: ..")
    assert not said.endswith("..")
    assert "processor" not in done.stdout


REAL = {
    "cap-001": {None},
    "covid-P001": {None},
    "normal-001": {None},
    "ge-tilt-variable-spacing": {"no_lung"},
    "philips-tilt": {"no_lung"},
    "philips-localizers": {"localizer"},
}


@pytest.mark.parametrize("name", REAL)
def test_real_series(name: str, real_data: Callable[[str], Path]) -> None:
    code, records, _ = read(real_data(name), "--digest")
    assert code == 0
    assert {one["reason"] for one in records} == REAL[name]
    for one in records:
        assert one["outcome"] in (("skipped",) if one["reason"] else ("flagged", "not_flagged"))
        assert one["hu_sha256"] is not None
        assert one["spacing_mm"] is not None
