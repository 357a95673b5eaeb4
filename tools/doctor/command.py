"""scanlight doctor and scanlight accept: the acceptance test of an installation, and its signature."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from appliance.commands.journal import ConfigOption
from appliance.config import DEFAULT_CONFIG, Config, ConfigError, load
from tools.doctor.cases import LabelledCases
from tools.doctor.page import page
from tools.doctor.report import HTML, JSON, KIND, SIGNED
from tools.doctor.run import PHANTOMS, Plan, examine
from tools.doctor.sign import NotPassed, sign
from tools.doctor.terminal import show
from tools.problem import WrongInput, one_sentence
from tools.report_folder import ReportFolder

USAGE: Final = 2
FAILED: Final = 1
FOLDER: Final = ReportFolder(KIND, frozenset((JSON, HTML)))


def doctor(
    config: ConfigOption = DEFAULT_CONFIG,
    cases: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Your own series, read as on the scanner."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="With --cases: columns series_uid or path (below DIR), and label (1 or 0)."
        ),
    ] = None,
    min_sensitivity: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --cases: the least that you accept, such as 0.9.")
    ] = None,
    min_specificity: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --cases: the least that you accept.")
    ] = None,
    phantoms: Annotated[
        int, typer.Option(min=PHANTOMS, help="So many are read on the GPU and by the reference.")
    ] = PHANTOMS,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write report.html and report.json there, to be signed: a new folder."
        ),
    ] = None,
) -> None:
    """Test this installation, in minutes: engine, model, speed, your own cases, folders, service.

    A daemon may run meanwhile and is left alone; what it reads takes a little longer. scanlight accept signs
    the report. Exit 0 when all passed, 1 when something failed, 2 when it cannot be tested.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    errors = Console(stderr=True)
    with one_sentence():
        plan = Plan(phantoms, cases=_cases(cases, labels, min_sensitivity, min_specificity))
        settings = _settings(config)
        if out is not None:
            _check(out)
        waiting = errors.status("Starting …") if errors.is_terminal else contextlib.nullcontext()
        with waiting as status:
            report = examine(settings, plan, lambda what: status.update(f"{what} …") if status else None)
        content = report.render()
        if out is not None:
            FOLDER.write(out, {JSON: content, HTML: page(report, content, None).encode()})
    show(report, Console())
    if not report.passed:
        raise typer.Exit(FAILED)


def accept(
    report: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", exists=True, file_okay=False, help="What scanlight doctor --out wrote."
        ),
    ],
    name: Annotated[list[str], typer.Option(metavar="NAME", help="Who signs. Repeatable.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Sign a report that passed, so that the appliance is accepted as it was tested.

    What was not done is accepted with it. Exit 1 when the report may not be signed.
    """
    with one_sentence():
        try:
            signed = sign(report, name, _settings(config))
        except NotPassed as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(FAILED) from None
    typer.echo(
        f"Signed by {', '.join(signed.signed_by)}; report.json has the SHA-256 {signed.report_sha256}."
    )
    if signed.not_done:
        typer.echo(f"Accepted without: {', '.join(signed.not_done)}.")
    typer.echo("A daemon that runs notices within seconds: see scanlight status.")


def _cases(
    images: Path | None, labels: Path | None, sensitivity: float | None, specificity: float | None
) -> LabelledCases | None:
    if images is None and labels is None and sensitivity is None and specificity is None:
        return None
    if images is None or labels is None or sensitivity is None or specificity is None:
        raise WrongInput(
            "--cases, --labels, --min-sensitivity and --min-specificity go together: the limits are set"
            " before anybody sees a score."
        )
    return LabelledCases(images, labels, sensitivity, specificity)


def _settings(config: Path) -> Config:
    try:
        return load(config)
    except ConfigError as error:
        raise WrongInput(str(error)) from None


def _check(out: Path) -> None:
    if (out / SIGNED).exists():
        raise WrongInput(f"{out} holds a report that was signed, which is kept: choose a new folder.")
    FOLDER.check(out)
