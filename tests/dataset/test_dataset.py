"""Cases, volumes and parts of a data set, from real files."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from appliance.imaging.slices import ChangedMeanwhile, read_slice
from appliance.records import Slice, SlicePlan
from engines.bundle import embedded_model, load_model
from engines.spec import Accepted
from tools.dataset.cases import Case, read_cases
from tools.dataset.splits import Leak, Split, check, split
from tools.dataset.volumes import Made, make_volumes
from tools.phantom.chest import Chest
from tools.phantom.command import write_mask
from tools.phantom.companions import write_localizer
from tools.phantom.dicom import write_series
from tools.phantom.make import make_chest
from tools.problem import WrongInput
from tools.sheet import read_sheet

GRID = load_model(embedded_model("densitometry")).spec.grid
ANY = Accepted()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, each with a scout, the first with a mask; one folder without a chest."""
    root = tmp_path_factory.mktemp("set")
    for seed, kind in ((3, "covid"), (4, "clear")):
        chest = Chest(kind, seed, slice_mm=5.0, matrix=96, side="left" if kind == "covid" else None)
        made = make_chest(chest)
        write_series(made, root / str(seed))
        write_localizer(chest, root / str(seed) / "scout")
        if kind == "covid":
            write_mask(made, root / f"{seed}.mask.npz")
    (root / "nothing").mkdir()
    (root / "nothing" / "notes.txt").write_text("no chest")
    (root / "labels.csv").write_text(
        "path,label,group,centre\n3,1,COVID,a\n4,0,NP,b\nnothing,0,NP,b\n", encoding="utf-8"
    )
    return root


def cases(root: Path) -> list[Case]:
    return read_cases(root, read_sheet(root / "labels.csv"))


def test_a_table_names_series_by_folder_or_by_uid(root: Path, tmp_path: Path) -> None:
    found = cases(root)
    assert [(one.name, one.label, one.group, one.centre) for one in found] == [
        ("3", 1, "COVID", "a"),
        ("4", 0, "NP", "b"),
        ("nothing", 0, "NP", "b"),
    ]
    assert found[0].mask == root / "3.mask.npz"
    uid = str(pydicom.dcmread(next((root / "4").glob("*.dcm"))).SeriesInstanceUID)
    (tmp_path / "uids.csv").write_text(f"series_uid;label\n{uid};0\n")
    (one,) = read_cases(root, read_sheet(tmp_path / "uids.csv"))
    assert {path.parent for path in one.files} == {root / "4"}
    (tmp_path / "uids.csv").write_text("series_uid,label\n1.2.3,0\n")
    with pytest.raises(WrongInput, match=r"line 2, column series_uid: there is no series '1.2.3'"):
        read_cases(root, read_sheet(tmp_path / "uids.csv"))


def test_a_column_id_finds_no_series(root: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("id,path,label\nfirst,3,1\nsecond,4,0\n")
    found = read_cases(root, read_sheet(tmp_path / "ids.csv"))
    assert [(one.name, one.files[0].parent) for one in found] == [("3", root / "3"), ("4", root / "4")]
    (tmp_path / "ids.csv").write_text("id,path,label\nfirst,3,1\nsecond,3,0\n")
    with pytest.raises(WrongInput, match=r"line 3, column path: it stands in line 2 already"):
        read_cases(root, read_sheet(tmp_path / "ids.csv"))


@pytest.mark.parametrize("name", ["site\\3", "site/3/", "site\\3\\", "./site//3"])
def test_a_mask_is_found_however_a_folder_is_written(root: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "site").symlink_to(root)
    (tmp_path / "labels.csv").write_text(f"path,label\n{name},1\n")
    (one,) = cases(tmp_path)
    assert (one.name, one.mask) == (name, tmp_path / "site" / "3.mask.npz")


def test_a_file_that_changes_while_series_are_found_is_passed_over(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = sorted((root / "4").glob("*.dcm"))[0]

    def read(path: Path, plan: SlicePlan) -> Slice:
        if path == changing:
            raise ChangedMeanwhile(path)
        return read_slice(path, plan)

    monkeypatch.setattr("tools.dataset.cases.read_slice", read)
    uid = str(pydicom.dcmread(changing).SeriesInstanceUID)
    (tmp_path / "uids.csv").write_text(f"series_uid,label\n{uid},0\n")
    (one,) = read_cases(root, read_sheet(tmp_path / "uids.csv"))
    assert one.files
    assert changing not in one.files


def test_volumes_are_the_daemons_and_made_once(root: Path, tmp_path: Path) -> None:
    made = make_volumes(cases(root), GRID, Accepted(), tmp_path, 1)
    assert [bool(one.volume) for one in made] == [True, True, False]
    assert made[2].why == "it holds no DICOM series"
    hu = made[0].hu()
    assert (hu.shape, hu.dtype) == (GRID.size, np.dtype(np.float16))
    lesions = made[0].lesions()
    assert lesions is not None
    inside = lesions > 200
    assert inside.any()
    assert np.median(hu[inside]) > -750
    assert np.nonzero(inside)[2].min() >= GRID.size[2] // 2, "columns go from right to left"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert make_volumes(cases(root), GRID, Accepted(), tmp_path, 1) == made
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_other_bytes_another_grid_or_other_rules_make_another_volume(root: Path, tmp_path: Path) -> None:
    changed = tmp_path / "4"
    shutil.copytree(root / "4", changed)
    first = cases(root)[1]
    other = replace(first, files=tuple(sorted(path for path in changed.rglob("*") if path.is_file())))
    cache = tmp_path / "cache"

    def volume(case: Case, grid=GRID, accepted=ANY) -> str:
        (made,) = make_volumes([case], grid, accepted, cache, 1)
        assert made.volume is not None
        return made.volume.name

    assert volume(other) == volume(first), "where the files lie says nothing"
    assert volume(first, accepted=Accepted(kvp=(80.0, 140.0))) != volume(first)
    assert volume(first, grid=GRID.model_copy(update={"size": (80, 126, 128)})) != volume(first)
    file = other.files[0]
    dataset = pydicom.dcmread(file)
    dataset.PatientComments = "changed"
    dataset.save_as(file)
    assert volume(other) != volume(first)


def test_what_is_gone_or_broken_in_the_cache_is_made_anew(root: Path, tmp_path: Path) -> None:
    first = cases(root)[0]
    (whole,) = make_volumes([first], GRID, ANY, tmp_path, 1)
    assert whole.volume is not None
    assert whole.mask is not None
    facts = whole.volume.with_suffix(".json")
    known, hu, share = facts.read_bytes(), whole.volume.read_bytes(), whole.mask.read_bytes()
    for broken in (b"", known[:20], b"{}"):
        facts.write_bytes(broken)
        assert make_volumes([first], GRID, ANY, tmp_path, 1) == [whole]
        assert facts.read_bytes() == known
    for gone in (whole.volume, whole.mask):
        gone.unlink()
        assert make_volumes([first], GRID, ANY, tmp_path, 1) == [whole]
    assert (whole.volume.read_bytes(), whole.mask.read_bytes()) == (hu, share)


def test_one_series_made_twice_at_a_time_is_whole(root: Path, tmp_path: Path) -> None:
    # Four go to the first process, and the fifth to the second.
    made = make_volumes([cases(root)[0]] * 5, GRID, ANY, tmp_path, 2)
    assert made == [made[0]] * 5
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".npy", ".npy"]


FORM: dict[str, Any] = {"lesions": np.ones((2, 2, 2)), "spacing_mm": (1, 1, 1), "origin_mm": (0, 0, 0)}


@pytest.mark.parametrize(
    "wrong",
    [
        {name: value for name, value in FORM.items() if name != "lesions"},
        {name: value for name, value in FORM.items() if name != "spacing_mm"},
        {name: value for name, value in FORM.items() if name != "origin_mm"},
        {**FORM, "lesions": np.ones((2, 2))},
        {**FORM, "lesions": np.full((2, 2, 2), 255)},
        {**FORM, "lesions": np.full((2, 2, 2), "x")},
        {**FORM, "spacing_mm": (1, 1, 0)},
        {**FORM, "origin_mm": (0, 0)},
        b"no npz",
        b"",
        b"PK\x03\x04 half a file",
        "an array alone",
    ],
)
def test_what_is_no_mask_is_named(root: Path, tmp_path: Path, wrong: dict[str, Any] | bytes | str) -> None:
    mask = tmp_path / "3.mask.npz"
    if isinstance(wrong, dict):
        np.savez(mask, **wrong)
    elif isinstance(wrong, bytes):
        mask.write_bytes(wrong)
    else:
        with mask.open("wb") as file:
            np.save(file, np.ones(3))
    with pytest.raises(WrongInput, match=r"3\.mask\.npz is no lesion mask: .*`scanlight phantom --mask`"):
        make_volumes([replace(cases(root)[0], mask=mask)], GRID, ANY, tmp_path / "cache", 1)


def test_a_table_may_say_who_a_patient_is(root: Path, tmp_path: Path) -> None:
    (tmp_path / "who.csv").write_text("path,label,patient\n3,1,Ann\n4,0,Ann\nnothing,0,\n")
    named = read_cases(root, read_sheet(tmp_path / "who.csv"))
    cache = tmp_path / "cache"
    ann, same, _ = make_volumes(named, GRID, ANY, cache, 1)
    assert ann.patient == same.patient == hashlib.sha256(b"Ann").hexdigest()
    facts = [json.loads(path.read_text()) for path in cache.glob("*.json")]
    assert ann.patient not in {one["patient"] for one in facts}
    unnamed = make_volumes(cases(root), GRID, ANY, cache, 1)
    assert len({one.patient for one in unnamed[:2]}) == 2, "the files tell them apart"


def person(number: int, label: int, centre: str = "a", patient: str | None = None) -> Made:
    case = Case(str(number), label, "", centre, ())
    return Made(case, f"1.2.{number}", patient or f"p{number}", Path("x"), None, "")


def test_parts_hold_patients_whole_and_both_classes() -> None:
    people = [person(n, n % 2, patient=f"p{n // 4}-{n % 2}") for n in range(80)]
    parts = split(people, validate=0.2, test=0.1, seed=5)
    assert [len(part) for part in (parts.train, parts.validate, parts.test)] == [56, 16, 8]
    for part in (parts.train, parts.validate, parts.test):
        assert {one.case.label for one in part} == {0, 1}
    assert split(people[::-1], validate=0.2, test=0.1, seed=5) == parts
    assert split(people, validate=0.2, test=0.1, seed=6) != parts


def test_parts_of_patients_with_one_series_each_are_those_of_the_shipped_model() -> None:
    digests = [hashlib.sha256(str(n).encode()).hexdigest()[:16] for n in range(24)]
    people = [person(n, int(n % 3 == 0), patient=digests[n]) for n in range(24)]
    parts = split(people, validate=0.25, test=0.2, seed=7)
    assert [
        " ".join(one.case.name for one in part) for part in (parts.train, parts.validate, parts.test)
    ] == [
        "11 20 8 5 19 22 7 14 2 18 6 21 15",
        "13 10 4 1 0 3",
        "16 23 17 9 12",
    ]


def test_a_patient_with_series_of_both_classes_stays_whole() -> None:
    mixed = [person(n, n % 2, patient=f"p{n // 2}") for n in range(40)]
    others = [person(n, 0) for n in range(100, 120)]
    for seed in range(5):
        parts = split(mixed + others, validate=0.2, test=0.1, seed=seed)
        assert [len(part) for part in (parts.train, parts.validate, parts.test)] == [42, 12, 6]


def test_a_centre_judges_alone() -> None:
    people = [person(n, n % 2, centre="abc"[n % 3]) for n in range(30)]
    parts = split(people, validate=0.2, test_centre="c", seed=1)
    assert {one.case.centre for one in parts.test} == {"c"}
    assert "c" not in {one.case.centre for one in (*parts.train, *parts.validate)}


@pytest.mark.parametrize(
    ("other", "what"),
    [(person(2, 0, "b", patient="p1"), "patient"), (replace(person(1, 0), patient="p9"), "series")],
)
def test_a_patient_or_series_in_two_parts_is_an_error(other: Made, what: str) -> None:
    with pytest.raises(Leak, match=rf"1 in the train set are of one {what}"):
        check(Split((person(1, 1),), (), (other,)))


def test_a_series_in_two_lines_is_an_error_also_within_one_part() -> None:
    again = replace(person(1, 1), case=replace(person(1, 1).case, name="./1"))
    with pytest.raises(Leak, match=r"\./1 in the train set and 1 in the train set are of one series"):
        split([person(1, 1), person(2, 0), again], validate=0, seed=1)


def test_a_patient_of_two_centres_leaks_when_one_is_held_out() -> None:
    people = [person(n, n % 2) for n in range(10)] + [person(11, 1, "b", patient="p1")]
    with pytest.raises(Leak, match="of one patient"):
        split(people, validate=0.2, test_centre="b", seed=1)
