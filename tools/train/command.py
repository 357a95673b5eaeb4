"""`scanlight train`, and `scanlight model export`: from a data set to a model."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from appliance import durable
from tools.needs import needs
from tools.network.configuration import CONFIGURATIONS, Size
from tools.problem import one_sentence
from tools.train.card import ModelCard, read_card
from tools.train.recipe import PACES, Method, Network, Recipe

if TYPE_CHECKING:
    from tools.train.checkpoint import Progress as Done
    from tools.train.parts import Parts

LEAST_TAUGHT: Final = 0.9
"""So much of the patients may do something else."""

Card = Annotated[
    Path | None,
    typer.Option(
        metavar="YAML",
        help="What the model says of itself: name, version, population, trained_on, intended_use, licence,"
        " notice, accepted. Each may be left out.",
    ),
]


def train(
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="The series: docs/training.md."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="For checkpoint, curves, scores and model; what is there is gone on with."
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="series_uid or path (in --data), label or group, centre, patient; else labels.csv there.",
        ),
    ] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="GROUP", help="The group to be flagged, where there are no labels.")
    ] = None,
    validate: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the patients that choose the operating point.")
    ] = 0.2,
    test: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the patients that only judge.")] = 0.0,
    test_centre: Annotated[
        str | None, typer.Option(metavar="CENTRE", help="A centre whose patients all only judge.")
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Series that only judge, with a labels.csv."
        ),
    ] = None,
    network: Annotated[
        Network, typer.Option(help="3D CSAC-Net, or a baseline; the last three learn from lung density.")
    ] = "csac-net",
    size: Annotated[Size, typer.Option(help="Which of the two sizes.")] = "full",
    method: Annotated[
        Method,
        typer.Option(help="The paper's recipe, or crops around lesions first, which need lesion masks."),
    ] = "paper",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the paper's method 75; of the curriculum's crops 5.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Volumes or crops a step: 10 or 24.")] = None,
    rate: Annotated[
        float | None, typer.Option(min=1e-7, max=1, help="Learning rate: 0.001, or at most 0.002.")
    ] = None,
    early_stop: Annotated[
        int | None,
        typer.Option(min=1, metavar="EPOCHS", help="End after so many without a lower validation loss."),
    ] = None,
    want_sensitivity: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Flag from what reaches it on the validation set, not from 0.5."),
    ] = None,
    card: Card = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, split, order and augmentation.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="With as many the same weights come out again.")] = (
        os.cpu_count() or 1
    ),
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where volumes are kept; else in --out.")
    ] = None,
    checkpoint_every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Besides each epoch.")
    ] = 60.0,
    cpu: Annotated[bool, typer.Option("--cpu", help="Leave a GPU alone.")] = False,
) -> None:
    """Train 3D CSAC-Net on labelled series and write the model that the appliance reads.

    A run that was interrupted goes on when it is started again, and on a processor it ends with the same
    weights as one that was not. Exits with 2 and one sentence when the input is wrong.
    """
    with needs("evaluate"):
        from tools.train.densities import train_on_densities  # noqa: PLC0415
        from tools.train.parts import Source, gather  # noqa: PLC0415
        from tools.train.result import check_wishes  # noqa: PLC0415
    if network in ("csac-net", "resnet"):
        with needs("train"):
            import torch  # noqa: PLC0415

            from tools.train.run import MODEL, Request  # noqa: PLC0415
            from tools.train.run import train as run  # noqa: PLC0415

    if early_stop is not None and method != "paper":
        _fail("--early-stop is for the paper's method: leave it out, or change --method.")
    if validate + test > LEAST_TAUGHT:
        _fail(f"--validate {validate:g} and --test {test:g} leave too little to train on: lower them.")
    grid = CONFIGURATIONS[size].grid
    source = Source(data, labels, positive, held_out, validate, test, test_centre, seed)
    with one_sentence(), _Shown(Console(stderr=True)) as shown:
        said = ModelCard() if card is None else read_card(card)
        volumes = partial(shown.count, "volumes")
        parts = gather(source, grid, said.accepted, cache or out / "volumes", os.cpu_count() or 1, volumes)
        shown.data(parts)
        check_wishes(parts, early_stop, want_sensitivity)
        if network == "csac-net" or network == "resnet":
            pace = PACES[method]
            recipe = Recipe(
                network,
                size,
                method,
                epochs or pace.epochs,
                batch or pace.batch,
                rate or pace.rate,
                early_stop,
                seed,
                threads,
            )
            gpu = torch.cuda.is_available() and not cpu
            request = Request(recipe, said, out, want_sensitivity, checkpoint_every, gpu)
            finding = run(request, parts, shown.step)
            made = f"{out / MODEL}: weights {finding['weights_sha256'][:16]}"
        else:
            density = partial(shown.count, "lung density")
            finding = train_on_densities(network, parts, grid, seed, want_sensitivity, out, density)
            made = f"{out}: scores of {network}"
    typer.echo(f"{made}, flags from {finding['operating_point']:.4g}")
    for name in ("validation", "test"):
        _tell(name, finding.get(name))


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="As scanlight train keeps it.")],
    out: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file to write.")],
    card: Card = None,
) -> None:
    """Write the network of a checkpoint as an ONNX model, with its specification and card in it."""
    with needs("train"):
        from tools.train.checkpoint import read_checkpoint  # noqa: PLC0415
        from tools.train.export import to_model  # noqa: PLC0415

    with one_sentence():
        content = to_model(read_checkpoint(checkpoint), None if card is None else read_card(card))
        durable.write(out, content)
    typer.echo(f"{out}: {len(content) / 1e6:.1f} MB")


class _Shown:
    """Progress on a terminal; elsewhere a line an epoch."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", visible=False)
        self._told = 0

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def count(self, what: str, done: int, total: int) -> None:
        self._bar.update(self._task, description=what, completed=done, total=total, visible=True)

    def data(self, parts: Parts) -> None:
        counts = ", ".join(f"{len(cases)} {name}" for name, cases in parts.named().items())
        self._console.print(f"Series: {counts}")
        for one in parts.unread:
            self._console.print(f"Left out: {one.case.name}: {one.why}", highlight=False, soft_wrap=True)

    def step(self, course: str, done: int, total: int, progress: Done) -> None:
        rows = progress.rows
        loss = f", loss {rows[-1]['loss']:.3f}" if rows else ""
        self.count(f"{course}{loss}", done, total)
        if len(rows) > self._told:
            self._told = len(rows)
            self._console.print(_row(rows[-1]), highlight=False)


def _row(row: dict[str, Any]) -> str:
    said = [f"{row['course']} {row['step']}: loss {row['loss']:.4f}"]
    if row["validation_loss"] is not None:
        said.append(f"validation {row['validation_loss']:.4f}")
    if row["validation_auc"] is not None:
        said.append(f"AUC {row['validation_auc']:.3f}")
    return ", ".join(said)


def _tell(name: str, found: dict[str, Any] | None) -> None:
    if found is None:
        return
    at, interval = found["at"], found["auc_95"]
    between = f" ({interval['low']:.3f} to {interval['high']:.3f})" if interval else ""
    typer.echo(
        f"{name}: {found['series']} series, {found['positive']} positive, AUC {found['auc']:.3f}"
        f"{between}, sensitivity {at['tp']}/{found['positive']},"
        f" specificity {at['tn']}/{found['series'] - found['positive']}"
    )


def _fail(sentence: str) -> None:
    typer.echo(sentence, err=True)
    raise typer.Exit(2)
