"""The report's folder: one page that needs nothing else, the plots, and no harm to other folders."""

from __future__ import annotations

import io
import json
import re
from base64 import b64decode
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from paper_scores import write_csv

from tools.evaluate.outcome import FOLDER

Evaluated = Callable[..., dict[str, Any]]
Refused = Callable[..., str]

WHOLE = FOLDER.files - {"scores.csv"}


class Page(HTMLParser):
    """What a page asks for, and its tables."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def report(
    table_3: Path, radiologists: Path, evaluated: Evaluated, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("out") / "below" / "report"
    evaluated(
        table_3, "--readers", radiologists, "--compare", table_3, "--subgroup", "first_rt_pcr", "--out", out
    )
    return out


def test_the_page_needs_no_other_file(report: Path) -> None:
    text = (report / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert len(page.sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    without_images = re.sub(r'src="[^"]*"', "", text)
    assert not re.search(r"https?:|url\(|@import|<script|<link", without_images)
    assert not re.search(r"negative result|diagnos", without_images, re.I)
    assert ["0.50", "196", "73", "123", "303"] in page.rows
    assert "color-scheme: light dark" in text
    assert "@media print" in text


def test_the_plots_are_pictures_and_those_of_the_page(report: Path) -> None:
    assert {path.name for path in report.iterdir()} == WHOLE
    page = Page()
    page.feed((report / "report.html").read_text(encoding="utf-8"))
    for name, source in zip(("roc.png", "reliability.png", "scores.png"), page.sources, strict=True):
        content = (report / name).read_bytes()
        assert b64decode(source.partition(",")[2]) == content
        pixels = imread(io.BytesIO(content))
        assert min(pixels.shape[:2]) >= 500
        assert pixels[..., :3].std() > 0.05


def test_the_object_in_the_folder_is_the_one_that_is_printed(
    report: Path, table_3: Path, radiologists: Path, evaluated: Evaluated
) -> None:
    written = json.loads((report / "report.json").read_text(encoding="utf-8"))
    words = table_3, "--readers", radiologists, "--compare", table_3, "--subgroup", "first_rt_pcr"
    assert written == evaluated(*words)


def test_what_people_name_things_is_text(tmp_path: Path, evaluated: Evaluated) -> None:
    rows = [
        {"probability": score, "label": label, "group": group}
        for score, label, group in (
            (0.9, 1, "_<b>$x$</b>"),
            (0.8, 1, "$\\frac$"),
            (0.2, 0, "&amp;"),
            (0.3, 0, "$"),
        )
    ]
    path = write_csv(tmp_path / "scores.csv", rows)
    (tmp_path / "readers.csv").write_text("name,tp,fn,tn,fp\n<script>$,1,1,2,0\n")
    evaluated(path, "--readers", tmp_path / "readers.csv", "--out", tmp_path / "report")
    text = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "_&lt;b&gt;$x$&lt;/b&gt; against &amp;amp;" in text


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    path = tmp_path / "scores.csv"
    path.write_text("probability,label\n.9,1\n.4,1\n.5,0\n.1,0\n")
    return path


def test_an_earlier_report_and_an_empty_folder_are_replaced(
    scores: Path, tmp_path: Path, evaluated: Evaluated
) -> None:
    out = tmp_path / "report"
    out.mkdir()
    evaluated(scores, "--out", out)
    scores.write_text(scores.read_text() + ".2,0\n")
    evaluated(scores, "--out", out)
    assert json.loads((out / "report.json").read_text())["comparisons"][0]["negatives"] == 3
    assert {path.name for path in out.iterdir()} == WHOLE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "scores.csv"]


@pytest.mark.parametrize("name", ["notes.txt", "report.html", "report.json"])
def test_nothing_else_is_replaced(name: str, scores: Path, tmp_path: Path, refused: Refused) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / name).write_text("{}")
    assert "exists and is no report of scanlight evaluate" in refused(scores, "--out", out)
    assert [path.name for path in out.iterdir()] == [name]
    assert "exists and is no report" in refused(scores, "--out", scores)


def test_a_report_that_something_was_added_to_is_kept(
    scores: Path, tmp_path: Path, evaluated: Evaluated, refused: Refused
) -> None:
    out = tmp_path / "report"
    evaluated(scores, "--out", out)
    (out / "signed.pdf").write_text("by hand")
    assert "choose a new folder" in refused(scores, "--out", out)
    assert (out / "signed.pdf").exists()


def test_a_wrong_input_writes_nothing(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("probability,label\n.9,1\n")
    refused(path, "--out", tmp_path / "report")
    assert [one.name for one in tmp_path.iterdir()] == ["scores.csv"]


def test_a_folder_that_cannot_be_made_is_told_of(scores: Path, refused: Refused) -> None:
    assert "scores.csv is a file. Choose another folder." in refused(scores, "--out", scores / "report")
