"""Cases, volumes and parts of a data set, from real files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

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


def test_a_patient_of_two_centres_leaks_when_one_is_held_out() -> None:
    people = [person(n, n % 2) for n in range(10)] + [person(11, 1, "b", patient="p1")]
    with pytest.raises(Leak, match="of one patient"):
        split(people, validate=0.2, test_centre="b", seed=1)
