"""One evaluation from files to what is told and written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from appliance.findings.record import printable
from engines.bundle import default_model
from tools.evaluate.bootstrap import Draws
from tools.evaluate.cases import Cases, read_cases, scores_for
from tools.evaluate.evaluation import Evaluation, Wishes, evaluate
from tools.evaluate.images import join, read_tree
from tools.evaluate.operating_point import Rate
from tools.evaluate.outcome import FOLDER, Source, as_json, scores_csv, summary
from tools.evaluate.page import page
from tools.evaluate.plots import plots
from tools.evaluate.readers import read_readers
from tools.evaluate.sections import left_out, sections
from tools.page import Section
from tools.problem import WrongInput
from tools.report_folder import REPORT
from tools.sheet import Sheet, read_sheet

OPERATING_POINT: Final = 0.5
"""The paper's, where no model says another."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for on the command line."""

    scores: Path | None
    images: Path | None
    labels: Path | None
    model: Path | None
    positive: str | None
    thresholds: tuple[float, ...]
    sensitivities: tuple[float, ...]
    specificities: tuple[float, ...]
    subgroups: tuple[str, ...]
    within: tuple[str, ...]
    compare: Path | None
    readers: Path | None
    draws: Draws
    out: Path | None


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it, for the terminal and as JSON."""

    summary: str
    sections: tuple[Section, ...]
    json: str


def run(request: Request, progress: Progress) -> Report:
    """Raises WrongInput. Nothing is written unless all is well."""
    _check(request)
    if request.out is not None:
        FOLDER.check(request.out)
    readers = read_sheet(request.readers) if request.readers else None
    people = read_readers(readers) if readers else ()
    other = read_sheet(request.compare) if request.compare else None
    cases, source, sheet, operating_point = _cases(request, progress)
    wishes = Wishes(
        tuple(dict.fromkeys(request.thresholds or (operating_point,))),
        _wanted(request),
        request.subgroups,
        request.within,
        request.draws,
    )
    rival = (printable(other.path.stem), scores_for(cases, sheet.path, other)) if other else None
    found = evaluate(cases, wishes, people, rival)
    used = [one for one in (sheet, readers, other) if one]
    source = replace(source, files=_digests(used) | dict(source.files))
    report = Report(
        summary(cases, source),
        (
            *sections(found, request.draws),
            *left_out(source.not_scored, source.without_label),
        ),
        as_json(found, source, request.draws),
    )
    if request.out is not None:
        _write(request.out, report, cases, found, source)
    return report


def _digests(sheets: Sequence[Sheet]) -> dict[str, str]:
    """By name, or by path where two files have one name."""
    names = [one.path.name for one in sheets]
    return {
        printable(one.path.name if names.count(one.path.name) == 1 else str(one.path)): one.sha256
        for one in sheets
    }


def _check(request: Request) -> None:
    if (request.scores is None) == (request.images is None):
        raise WrongInput("Name either a CSV of scores or a folder with --images.")
    if (request.images is None) != (request.labels is None):
        raise WrongInput("--images and --labels go together: one has the series, the other the labels.")
    if request.model is not None and request.images is None:
        raise WrongInput("--model scores images: name them with --images, or leave it out.")
    for option, values in (
        ("--threshold", request.thresholds),
        ("--want-sensitivity", request.sensitivities),
        ("--want-specificity", request.specificities),
    ):
        for value in values:
            if not 0 <= value <= 1 or math.isnan(value):
                raise WrongInput(f"{option} {value:g} is not between 0 and 1: write 0.95 for 95 %.")


def _wanted(request: Request) -> tuple[tuple[Rate, float], ...]:
    sensitivities: list[tuple[Rate, float]] = [("sensitivity", one) for one in request.sensitivities]
    specificities: list[tuple[Rate, float]] = [("specificity", one) for one in request.specificities]
    return (*sensitivities, *specificities)


def _cases(request: Request, progress: Progress) -> tuple[Cases, Source, Sheet, float]:
    """Also the sheet that the labels are from, and the threshold where none is asked for."""
    if request.images is None or request.labels is None:
        assert request.scores is not None
        sheet = read_sheet(request.scores)
        return read_cases(sheet, request.positive), Source({}), sheet, OPERATING_POINT
    sheet = read_sheet(request.labels)
    tree = read_tree(request.images, request.model or default_model(), progress)
    joined = join(tree, request.images, sheet, request.positive)
    source = Source(
        {tree.model: tree.model_sha256}, tree.model, joined.not_scored, joined.without_label, joined.scores
    )
    return joined.cases, source, sheet, tree.operating_point


def _write(out: Path, report: Report, cases: Cases, found: Evaluation, source: Source) -> None:
    images = plots(cases, found)
    about = ", ".join(f"{name} (SHA-256 {digest[:12]}…)" for name, digest in source.files.items())
    written = f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by scanlight evaluate."
    html = page(
        "Evaluation of scores", f"{report.summary}. From {about}.", found, report.sections, images, written
    )
    files = {"report.html": html.encode(), REPORT: report.json.encode(), **images}
    if source.scores:
        files["scores.csv"] = scores_csv(source.scores).encode()
    FOLDER.write(out, files)
