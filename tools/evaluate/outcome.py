"""An evaluation with where its numbers are from: as JSON, as a table of scores, in words."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

from tools.evaluate.bootstrap import Draws
from tools.evaluate.cases import Cases, Unscored
from tools.evaluate.evaluation import Evaluation
from tools.report_folder import REPORT, ReportFolder

SCHEMA = 1

FOLDER = ReportFolder(
    "scanlight evaluate",
    frozenset((REPORT, "report.html", "roc.png", "reliability.png", "scores.png", "scores.csv")),
)


@dataclass(frozen=True, slots=True)
class Source:
    """`files` are digests by name of all that went in; `model` is set where images were scored here.

    `scores` has a row for each case that was scored here.
    """

    files: Mapping[str, str]
    model: str | None = None
    not_scored: tuple[Unscored, ...] = ()
    without_label: tuple[Unscored, ...] = ()
    scores: Sequence[Mapping[str, str]] = ()


def summary(cases: Cases, source: Source) -> str:
    """One line: how many cases of which class."""
    positives = int(cases.positive.sum())
    model = f"{source.model}: " if source.model else ""
    left = f", {len(source.not_scored)} labelled and not scored" if source.not_scored else ""
    return (
        f"{model}{cases.positive.size} cases: {positives} positive,"
        f" {cases.positive.size - positives} negative{left}"
    )


def as_json(found: Evaluation, source: Source, draws: Draws) -> str:
    """One object; the same input gives the same text."""
    content = {
        "report": FOLDER.kind,
        "schema": SCHEMA,
        "scanlight": version("scanlight"),
        "files": dict(source.files),
        "model": source.model,
        "bootstrap": asdict(draws),
        **asdict(found),
        "not_scored": [asdict(one) for one in source.not_scored],
        "without_label": [asdict(one) for one in source.without_label],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def scores_csv(rows: Sequence[Mapping[str, str]]) -> str:
    """What `scanlight evaluate` reads, so that another model can be compared on the same cases."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
