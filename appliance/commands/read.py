"""scanlight read: the pipeline once over any tree of DICOM files, no daemon, no state."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from appliance.commands.table import print_records
from appliance.imaging.isolation import SlicePool
from appliance.offline import TreeReader
from appliance.reading import WrongModel, rules_for
from appliance.reasons import Outcome
from engines.bundle import BundleError, default_model, load_model
from engines.protocol import DeviceLost, EngineError
from engines.runner import open_engine

ATTENTION = 3
USAGE = 2


def read(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.", exists=True)],
    as_json: Annotated[bool, typer.Option("--json", help="One record a line, as JSON.")] = False,
    digest: Annotated[bool, typer.Option(help="Also the SHA-256 of the native HU grid.")] = False,
    model: Annotated[Path | None, typer.Option(metavar="FILE", help="An ONNX model.")] = None,
    bundle: Annotated[Path | None, typer.Option(metavar="DIR", help="A bundle.")] = None,
) -> None:
    """Read every series below the paths and say how each ends: no daemon, no state.

    Exit 0 when all was read or skipped, 3 when something was not analysed or failed, 2 on a usage error.
    """
    if model and bundle:
        typer.echo("--model and --bundle exclude each other: name one.", err=True)
        raise typer.Exit(USAGE)
    errors = Console(stderr=True)
    try:
        engine = open_engine(load_model(model or bundle or default_model()))
        rules = rules_for(engine.spec)
    except (BundleError, DeviceLost, EngineError, WrongModel) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from None
    if engine.identity.why:
        typer.echo(f"The processor reads, not the bundle's plan: {engine.identity.why}.", err=True)
    workers = max(1, (os.cpu_count() or 2) - 1)
    pool = SlicePool(workers)
    reader = TreeReader(engine, rules, pool, 2 * workers, keep_native=digest)
    records = []
    try:
        with _Bar(errors) as bar:
            reader.progress = bar.tell
            for record in reader.records(paths):
                records.append(record)
                if as_json:
                    sys.stdout.write(record.to_json() + "\n")
                    sys.stdout.flush()
    except DeviceLost as error:
        errors.print(str(error))
        raise typer.Exit(USAGE) from None
    finally:
        pool.close()
        engine.close()
    if not as_json:
        print_records(Console(), records)
    if reader.others:
        files = "1 other file is" if reader.others == 1 else f"{reader.others} other files are"
        errors.print(f"{files} no DICOM and left alone.")
    if any(record.outcome in (Outcome.NOT_ANALYSED, Outcome.FAILED) for record in records):
        raise typer.Exit(ATTENTION)


class _Bar(Progress):
    """A bar for each step, on a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._steps: dict[str, TaskID] = {}

    def tell(self, what: str, done: int, total: int) -> None:
        if what not in self._steps:
            self._steps[what] = self.add_task(what)
        self.update(self._steps[what], completed=done, total=total)
