"""`scanlight population`: writes a data set of phantoms, for `scanlight train` and `scanlight evaluate`."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import pydicom
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tools.dataset.cases import LABELS
from tools.phantom.command import write_mask
from tools.phantom.dicom import write_series
from tools.phantom.export import Export
from tools.phantom.make import make_chest
from tools.phantom.population import person
from tools.phantom.vendors import vendor_of
from tools.problem import WrongInput, one_sentence
from tools.workers import workers


@dataclass(frozen=True, slots=True)
class Row:
    """A line of labels.csv. `path` is below the folder of the file; a scanner stands for a centre."""

    path: str
    label: int
    group: str
    centre: str
    seed: int


def population(
    out: Annotated[Path, typer.Argument(help="Folder for the series and labels.csv.")],
    count: Annotated[int, typer.Option(min=1, help="How many patients.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 1,
    matrix: Annotated[int, typer.Option(min=64, max=512, help="Rows and columns.")] = 192,
    processes: Annotated[int, typer.Option(min=1, help="How many work at a time.")] = os.cpu_count() or 1,
) -> None:
    """Write phantoms of a mixed population as DICOM series, with their lesion masks and a table of labels.

    What an earlier run has written is kept, so that one that was interrupted goes on.
    """
    console = Console(stderr=True)
    columns = TextColumn("Phantoms"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with one_sentence():
        out.mkdir(parents=True, exist_ok=True)
        with (
            workers(processes) as pool,
            Progress(*columns, console=console, disable=not console.is_terminal) as bar,
        ):
            seeds = range(seed, seed + count)
            made = pool.map(partial(_write, out, matrix), seeds)
            rows = list(bar.track(made, total=count))
        _write_labels(out / LABELS, rows)
    typer.echo(f"{out / LABELS}: {count} patients, {sum(row.label for row in rows)} of them COVID-like")


def _write(out: Path, matrix: int, seed: int) -> Row:
    """One patient, whole or not at all. Raises WrongInput where an earlier run wrote another matrix."""
    one = person(seed, matrix)
    name = f"{seed:06d}"
    if (out / name).exists():
        found = pydicom.dcmread(next((out / name).iterdir()), specific_tags=["Rows"]).Rows
        if found != matrix:
            raise WrongInput(
                f"{out / name} has images of {found} x {found}: choose another folder, or --matrix {found}."
            )
    else:
        made = make_chest(one.chest, one.ranges, mimics=one.mimics)
        part = out / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        write_series(made, part, Export())
        write_mask(made, out / f"{name}.mask.npz")
        part.rename(out / name)
    return Row(name, int(one.covid), one.group, vendor_of(seed).station, seed)


def _write_labels(path: Path, rows: Iterable[Row]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(Row.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    part.replace(path)
