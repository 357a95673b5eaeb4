"""`scanlight evaluate`: a model's scores against labels, as tables, JSON and a report."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tools.needs import needs
from tools.problem import one_sentence


def evaluate(
    scores: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SCORES.csv]",
            help="Columns probability and label (1 or 0) or group; id, centre and others if you like.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Score the series of this folder."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="With --images: columns series_uid or path (below DIR), label or group."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --images: an ONNX model or a bundle; else the embedded one."),
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="The group that is positive, where there are no labels."),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(
            help="Flag from this score on; repeatable. Else the operating point of the model, or 0.5."
        ),
    ] = None,
    want_sensitivity: Annotated[
        list[float] | None, typer.Option(help="Which threshold reaches it? Repeatable.")
    ] = None,
    want_specificity: Annotated[
        list[float] | None, typer.Option(help="Which threshold reaches it? Repeatable.")
    ] = None,
    subgroup: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN[=VALUE]",
            help="Also the positives of each value, or of this one, against all negatives. Repeatable.",
        ),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Also the cases of each value by themselves. Repeatable."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Another model's scores of the same ids, for DeLong's test."),
    ] = None,
    readers: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="People who read the same cases: columns name, tp, fn, tn, fp."),
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write report.html, report.json and the plots there: a new folder, an empty one, or an"
            " earlier report, which is replaced.",
        ),
    ] = None,
) -> None:
    """Measure a model's scores against labels: ROC, sensitivity, specificity, calibration, with intervals.

    From a CSV of scores, or from images that are scored here as the appliance would. Exits with 2 and one
    sentence when the input is wrong.
    """
    with needs("evaluate"):
        from tools.evaluate.bootstrap import Draws  # noqa: PLC0415
        from tools.evaluate.run import Request, run  # noqa: PLC0415
        from tools.evaluate.terminal import show  # noqa: PLC0415

    request = Request(
        scores,
        images,
        labels,
        model,
        positive,
        tuple(threshold or ()),
        tuple(want_sensitivity or ()),
        tuple(want_specificity or ()),
        tuple(subgroup or ()),
        tuple(within or ()),
        compare,
        readers,
        Draws(resamples, seed),
        out,
    )
    errors = Console(stderr=True)
    waiting = errors.status("Reading …") if errors.is_terminal else contextlib.nullcontext()
    with one_sentence(), waiting as status:
        report = run(
            request,
            lambda what, done, total: status.update(f"{what}: {done} of {total} …") if status else None,
        )
    if as_json:
        typer.echo(report.json)
    else:
        show(report.summary, report.sections, Console())
