"""scanlight evaluate from files of scores: what it counts, and what it says of a wrong file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import scanlight
from paper_scores import FIRST_NEGATIVE, NEGATIVES, POSITIVES, READERS, THRESHOLDS, TN, TP, TP_FIRST_NEGATIVE

Evaluated = Callable[..., dict[str, Any]]
Refused = Callable[..., str]
Printed = Callable[..., str]
Scores = Callable[..., Path]

GOOD: list[tuple[object, object]] = [(0.1, 0), (0.4, 0), (0.6, 0), (0.3, 1), (0.8, 1), (0.9, 1)]


def test_table_3_is_printed_as_the_paper_has_it(table_3: Path) -> None:
    done = scanlight("evaluate", table_3, "--subgroup", "first_rt_pcr=negative", "--resamples", 100)
    assert (done.returncode, done.stderr) == (0, "")
    _, found, after = done.stdout.partition("Counts at fixed thresholds (Table 3 of Yao et al.)")
    assert found
    header, *lines = after.strip().splitlines()
    assert re.split(r" {2,}", header.strip()) == [
        "threshold",
        f"TP of {POSITIVES}",
        f"TP of {FIRST_NEGATIVE}, first_rt_pcr = negative",
        f"TN of {NEGATIVES}",
    ]
    printed = [line.split() for line in lines[: len(THRESHOLDS)]]
    assert printed == [
        [f"{threshold:.2f}", str(tp), str(some), str(tn)]
        for threshold, tp, some, tn in zip(THRESHOLDS, TP, TP_FIRST_NEGATIVE, TN, strict=True)
    ]
    assert "Too narrow" in after
    assert not re.search(r"negative result|diagnos", done.stdout, re.I)


def test_the_papers_comparisons(table_3: Path, evaluated: Evaluated) -> None:
    found = evaluated(table_3, "--subgroup", "first_rt_pcr", "--within", "centre")
    sizes = {one["name"]: (one["positives"], one["negatives"]) for one in found["comparisons"]}
    assert sizes == {
        "COVID against CAP + NP": (213, 336),
        "COVID against CAP": (213, 174),
        "COVID against NP": (213, 162),
        "positives with first_rt_pcr = negative": (81, 336),
        "positives with first_rt_pcr = positive": (132, 336),
        "within centre = 4": (213, 336),
    }
    whole = found["comparisons"][0]
    assert whole["auc"]["value"] == pytest.approx(0.955, abs=0.01)
    (at,) = whole["at"]
    assert (at["threshold"], at["tp"], at["fn"], at["tn"], at["fp"]) == (0.5, 196, 17, 303, 33)
    assert whole["auc"]["delong"]["low"] < whole["auc"]["value"] < whole["auc"]["delong"]["high"]
    assert found["comparisons"][3]["at"][0]["sensitivity"]["count"] == 73
    (wald,) = whole["as_in_yao"]
    assert wald["sensitivity"] == pytest.approx({"low": 0.898, "high": 0.943}, abs=5e-4)


def test_the_radiologists(table_3: Path, radiologists: Path, evaluated: Evaluated) -> None:
    found = evaluated(table_3, "--readers", radiologists)["readers"]
    rates = {
        one["reader"]["name"]: (one["reader"]["sensitivity"]["value"], one["reader"]["specificity"]["value"])
        for one in found
    }
    assert rates == {name: (tp / 213, tn / 336) for name, (tp, tn) in READERS.items()}
    assert round(100 * rates["junior 1"][0], 1) == 66.2
    assert round(100 * rates["senior 1"][0], 1) == 77.5
    for one in found:
        assert one["same_numbers"]
        assert one["at_specificity"]["specificity"]["value"] >= one["reader"]["specificity"]["value"]
        assert one["at_specificity"]["sensitivity"]["value"] > one["reader"]["sensitivity"]["value"]
        assert one["at_sensitivity"]["sensitivity"]["value"] >= one["reader"]["sensitivity"]["value"]


def test_readers_of_other_cases_are_told_of(scores: Scores, tmp_path: Path, printed: Printed) -> None:
    readers = tmp_path / "readers.csv"
    readers.write_text("name,tp,fn,tn,fp\nDr A,3,1,2,0\n")
    assert "Dr A: not as many positives and negatives as here." in printed(scores(GOOD), "--readers", readers)


def test_thresholds_and_wishes(scores: Scores, evaluated: Evaluated) -> None:
    found = evaluated(
        scores(GOOD),
        "--threshold",
        0.35,
        "--threshold",
        0.7,
        "--want-sensitivity",
        1,
        "--want-specificity",
        1,
    )
    at = [(one["threshold"], one["tp"], one["tn"]) for one in found["comparisons"][0]["at"]]
    assert at == [(0.35, 2, 1), (0.7, 2, 3)]
    wanted = [(one["rate"], one["reached"]["tp"], one["reached"]["tn"]) for one in found["wanted"]]
    assert wanted == [("sensitivity", 3, 1), ("specificity", 2, 3)]


def test_the_same_input_gives_the_same_object(scores: Scores, evaluated: Evaluated) -> None:
    path = scores(GOOD)
    assert evaluated(path) == evaluated(path)
    assert evaluated(path, "--seed", 2)["comparisons"][0]["at"] == evaluated(path)["comparisons"][0]["at"]


def test_groups_decide_where_there_are_no_labels(tmp_path: Path, evaluated: Evaluated) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("probability,group\n.9,COVID\n.3,covid\n.4,CAP\n.1,NP\n")
    whole = evaluated(path, "--positive", "COVID")["comparisons"][0]
    assert (whole["positives"], whole["negatives"], whole["auc"]["value"]) == (2, 2, 0.75)


@pytest.mark.parametrize(
    "content",
    [
        "﻿Probability;Label;Group\r\n0,9;1;COVID\r\n0,2;0;CAP\r\n0,4;0;NP\r\n".encode(),
        "probability;label;group\n0,9;1;Grün\n0.2;0;CAP\n0,4;0;NP\n;;\n".encode("cp1252"),
        "probability\tlabel\tgroup\n0.9\t1\tCOVID\n0.2\t0\tCAP\n0.4\t0\tNP\n".encode("utf-16"),
        b'probability,label,group\n0.9,1,"COVID, mild"\n\n 0.2 ,0,CAP\n.4,0,NP',
    ],
    ids=["mark, semicolons, decimal commas", "code page of Windows", "UTF-16 with tabs", "quotes and blanks"],
)
def test_tables_as_excel_saves_them(content: bytes, tmp_path: Path, evaluated: Evaluated) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    found = evaluated(path)
    whole = found["comparisons"][0]
    assert (whole["positives"], whole["negatives"], whole["auc"]["value"]) == (1, 2, 1)
    assert [row["tn"] for row in found["fixed"]["rows"]] == [0, 0, 1, 1, 2, 2, 2, 2, 2]


def test_all_scores_equal(scores: Scores, evaluated: Evaluated) -> None:
    found = evaluated(scores([(0.5, 1), (0.5, 1), (0.5, 0), (0.5, 0)]), "--want-specificity", 0.9)
    assert found["comparisons"][0]["auc"] == {"value": 0.5, "delong": None, "bootstrap": None}
    assert found["wanted"][0]["reached"]["tp"] == 0


def test_one_case_in_each_class_has_rates_and_no_interval_of_the_auc(
    scores: Scores, printed: Printed
) -> None:
    told = printed(scores([(0.9, 1), (0.2, 0)]))
    assert re.search(r"1 +1 +1\.000 +– +–", told)
    assert "An AUC without an interval" in told
    assert "20.7–100.0" in told


def test_a_value_without_one_of_the_classes_is_shown_as_such(scores: Scores, evaluated: Evaluated) -> None:
    path = scores(GOOD, centre=["A", "A", "B", "A", "A", "C"])
    found = {one["name"]: one for one in evaluated(path, "--within", "centre")["comparisons"]}
    assert found["within centre = C"]["auc"] is None
    assert found["within centre = C"]["at"][0]["specificity"] is None
    assert found["within centre = C"]["at"][0]["tp"] == 1
    assert found["within centre = A"]["auc"]["value"] == 0.75


def test_two_models(scores: Scores, evaluated: Evaluated, tmp_path: Path) -> None:
    """The example worked by hand in test_evaluate_delong.py, in another order."""
    rows: list[tuple[object, object]] = [(0.1, 0), (0.2, 0), (0.6, 1), (0.7, 1), (0.8, 1)]
    one = scores(rows, id=list("abcde"))
    other = tmp_path / "other.csv"
    other.write_text("id,probability,label\ne,.9,1\nd,.7,1\nc,.2,1\nb,.6,0\na,.3,0\n")
    test = evaluated(one, "--compare", other)["other"]["test"]
    assert test["z"] == pytest.approx(1)
    assert test["second"] == pytest.approx(2 / 3)


def test_two_files_of_one_name_keep_both_digests(
    scores: Scores, evaluated: Evaluated, tmp_path: Path
) -> None:
    one = scores(GOOD, id=list("abcdef"))
    other = tmp_path / "other" / one.name
    other.parent.mkdir()
    other.write_text(one.read_text().replace("0.1", "0.2"))
    assert set(evaluated(one, "--compare", other)["files"]) == {str(one), str(other)}


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ("id,probability\na,.1\nb,.2\nx,.3\n", r"1 missing \(c\) and 1 not known \(x\)"),
        ("probability\n.1\n.2\n.3\n", r"other\.csv, line 1: there is no column id or series_uid"),
        ("id,probability,label\na,.1,0\nb,.2,1\nc,.3,0\n", r"line 4, column label: 'c' has another label"),
        ("id,probability\na,.1\nb,.2\nb,.3\n", r"line 4, column id: it stands in line 3 already"),
        ("id,probability\na,.1\nb,.2\nc,7\n", r"line 4, column probability: 7 is not between 0 and 1"),
    ],
)
def test_models_that_do_not_match(
    other: str, sentence: str, scores: Scores, refused: Refused, tmp_path: Path
) -> None:
    one = scores([(0.1, 0), (0.8, 1), (0.4, 1)], id=list("abc"))
    path = tmp_path / "other.csv"
    path.write_text(other)
    assert re.search(sentence, refused(one, "--compare", path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("probability,label\n", "has a header and no rows"),
        ("score,label\n.1,0\n", "line 1: there is no column 'probability'"),
        ("probability,truth\n.1,0\n", "line 1: there is no column 'label'"),
        ("probability,label,label\n.1,0,0\n", "two columns are named 'label'"),
        ("probability,label,\n.1,0,\n", "column 3 has no name"),
        ("probability,label\n.1,0\n.2\n", "line 3: 1 cells where the header has 2"),
        ("probability,label\n.1,0\nnan,1\n", "line 3, column probability: nan is not between 0 and 1"),
        ("probability,label\n.1,0\n1.01,1\n", "line 3, column probability: 1.01 is not between"),
        ("probability,label\n.1,0\n,1\n", "line 3, column probability: it is no number"),
        ('probability,label\n.1,0\n"0,2",1\n', "line 3, column probability: it is no number"),
        ("probability,label\n.1,0\n.2,2\n", "line 3, column label: it is neither 1 nor 0"),
        ("probability,label\n.1,0\n.2,\n", "line 3, column label: it is neither 1 nor 0"),
        ("probability,label\n.1,0\n.2,0\n", "none of the 2 scored cases is labelled positive"),
        ("probability,label\n.1,1\n", "none of the 1 scored cases is labelled negative"),
        ("id,probability,label\na,.1,0\na,.2,1\n", "line 3, column id: it stands in line 2 already"),
        ("id,probability,label\na,.1,0\n,.2,1\n", "line 3, column id: it is empty"),
        ('probability,label\n.1,0\n".2,1\n', "is no CSV file"),
        ("probability,label\0\n", "is no text file"),
    ],
)
def test_a_wrong_file_gets_one_sentence(
    content: str, sentence: str, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(content)
    told = refused(path)
    assert sentence in told
    assert str(path) in told


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--threshold", "1.5"], "--threshold 1.5 is not between 0 and 1"),
        (["--threshold", "nan"], "--threshold nan is not between 0 and 1"),
        (["--want-sensitivity", "95"], "--want-sensitivity 95 is not between 0 and 1: write 0.95 for 95 %"),
        (["--subgroup", "sex"], "no column 'sex' to make subgroups of; there is group, centre"),
        (["--subgroup", "centre=Z"], "no positive case has 'Z' in column 'centre', only A"),
        (["--positive", "COVID"], "no case is of the group 'COVID', only of x, y"),
        (["--positive", "y"], "line 5, column label: 1 contradicts group x with --positive y"),
        (["--model", "m.onnx"], "--model scores images"),
        (["--labels", "l.csv"], "--images and --labels go together"),
        (["--compare", "missing.csv"], "missing.csv cannot be read: No such file or directory"),
    ],
)
def test_a_wrong_option_gets_one_sentence(
    options: list[str], sentence: str, scores: Scores, refused: Refused
) -> None:
    groups: list[object] = ["x"] * 6
    path = scores(GOOD, group=groups, centre=[1, 2, 3, "A", "A", "A"])
    if options == ["--positive", "COVID"]:
        path = scores(GOOD, group=["x", "x", "x", "y", "y", "y"])
        path.write_text(path.read_text().replace("label", "truth"))
    if options == ["--positive", "y"]:
        path = scores(GOOD, group=["x", "x", "x", "x", "y", "y"])
    assert sentence in refused(path, *options)


def test_a_column_of_too_many_values_is_none_of_groups(scores: Scores, refused: Refused) -> None:
    rows: list[tuple[object, object]] = [(0.1, 0), *[(0.5, 1)] * 13]
    path = scores(rows, age=list(range(14)))
    assert "Column 'age' has 13 values: at most 12" in refused(path, "--subgroup", "age")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("name,tp,fn,tn\nA,1,1,1\n", "there is no column 'fp'"),
        ("name,tp,fn,tn,fp\nA,1,1,-1,1\n", "line 2, column tn: '-1' is no count"),
        ("name,tp,fn,tn,fp\nA,0,0,1,1\n", "line 2: A has read no cases of one class"),
    ],
)
def test_wrong_counts_of_readers(
    content: str, sentence: str, scores: Scores, refused: Refused, tmp_path: Path
) -> None:
    readers = tmp_path / "readers.csv"
    readers.write_text(content)
    assert sentence in refused(scores(GOOD), "--readers", readers)


def test_nothing_to_evaluate(refused: Refused) -> None:
    assert refused() == "Name either a CSV of scores or a folder with --images."


def test_json_is_one_object_without_what_json_has_not(table_3: Path, printed: Printed) -> None:
    told = printed(table_3, "--json")
    assert told.count("\n") == 1

    def fail(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads(told, parse_constant=fail)
    assert (content["report"], content["schema"]) == ("scanlight evaluate", 1)
    assert content["curve"]["thresholds"][0] is None
    assert len(content["files"]["scores.csv"]) == 64
