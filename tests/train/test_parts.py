"""The parts of a training, gathered from real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.spec import Accepted
from tools.network.configuration import CONFIGURATIONS
from tools.problem import WrongInput
from tools.train.parts import Parts, Source, gather

BOTH = "path,label,centre,patient\n1,1,a,\n2,0,a,\n3,1,a,\n4,0,a,\n5,1,b,\n6,0,b,\n"


def parts(
    data: Path, table: Path, validate: float = 0.34, test: float = 0.0, centre: str | None = None
) -> Parts:
    source = Source(data, table, None, None, validate, test, centre, seed=1)
    grid = CONFIGURATIONS["edge"].grid
    return gather(source, grid, Accepted(), data.parent / "volumes", 2, lambda done, total: None)


def written(folder: Path, text: str) -> Path:
    table = folder / "table.csv"
    table.write_text(text)
    return table


def test_a_centre_that_no_series_has_is_an_error(data: Path, tmp_path: Path) -> None:
    found = parts(data, written(tmp_path, BOTH), centre="b")
    assert {one.case.name for one in found.split.test} == {"5", "6"}
    with pytest.raises(WrongInput, match=r"table.csv: no series .* of the centre 'c', only of a, b:"):
        parts(data, written(tmp_path, BOTH), centre="c")


def test_a_centre_of_a_table_without_centres_is_an_error(data: Path, tmp_path: Path) -> None:
    table = written(tmp_path, "path,label\n1,1\n2,0\n3,1\n4,0\n")
    with pytest.raises(WrongInput, match="no column 'centre' \\(--test-centre names one of its values\\)"):
        parts(data, table, centre="b")


def test_a_centre_whose_series_all_cannot_be_read_is_an_error(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name in "1234":
        (root / name).symlink_to(data / name)
    (root / "notes.txt").write_text("no chest")
    table = written(tmp_path, "path,label,centre\n1,1,a\n2,0,a\n3,1,a\n4,0,a\nnotes.txt,1,b\n")
    with pytest.raises(WrongInput, match="of the centre 'b', only of a:"):
        parts(root, table, centre="b")


@pytest.mark.parametrize(("option", "validate", "test"), [("--validate", 0.1, 0.0), ("--test", 0.34, 0.1)])
def test_a_share_of_too_few_patients_is_an_error(
    data: Path, tmp_path: Path, option: str, validate: float, test: float
) -> None:
    says = f"{option} 0.1 is nobody of 3 patients without a positive series and 3 with one: raise it"
    with pytest.raises(WrongInput, match=says):
        parts(data, written(tmp_path, BOTH), validate, test)


def test_patients_that_look_like_one_are_told_apart_by_a_column(data: Path, tmp_path: Path) -> None:
    one = "".join(f"{line}x\n" if line[0].isdigit() else f"{line}\n" for line in BOTH.splitlines())
    with pytest.raises(WrongInput, match=r"0 patients without .* and 1 with one: .*'patient'"):
        parts(data, written(tmp_path, one))
    assert len(parts(data, written(tmp_path, BOTH)).split.validate) == 2


def test_a_series_in_two_lines_is_an_error(data: Path, tmp_path: Path) -> None:
    table = written(tmp_path, BOTH + "./1,1,a,\n")
    with pytest.raises(WrongInput, match=r"1 in the \w+ set and (\./)?1 in the \w+ set are of one series"):
        parts(data, table)
