"""scanlight read: the pipeline once over any tree of DICOM files, no daemon, no state."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from appliance.commands.table import print_records
from appliance.findings.record import SeriesRecord
from appliance.imaging.isolation import SlicePool, WorkerLost
from appliance.imaging.slices import NotDicom, Unreadable
from appliance.intake import folder
from appliance.intake.grouping import group
from appliance.reading import (
    ModelInUse,
    Reading,
    Rules,
    WrongModel,
    engine_failed,
    failed,
    read_series,
    record_of,
    rules_for,
    unread_record,
)
from appliance.reasons import Outcome, Reason
from appliance.records import Arrival, Problem, Slice, SlicePlan
from engines.bundle import BundleError, default_model, load_model
from engines.protocol import Engine, EngineError
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
    except (BundleError, EngineError, WrongModel) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from None
    workers = max(1, (os.cpu_count() or 2) - 1)
    pool = SlicePool(workers)
    session = _Session(engine, rules, pool, 2 * workers, keep_native=digest)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        disable=not errors.is_terminal,
    )
    records = []
    try:
        with progress:
            for record in session.records(paths, progress):
                records.append(record)
                if as_json:
                    sys.stdout.write(record.to_json() + "\n")
                    sys.stdout.flush()
    finally:
        pool.close()
        engine.close()
    if not as_json:
        print_records(Console(), records)
    if session.others:
        errors.print(f"{session.others} other files are no DICOM and were left alone.")
    if any(record.outcome in (Outcome.NOT_ANALYSED, Outcome.FAILED) for record in records):
        raise typer.Exit(ATTENTION)


@dataclass(slots=True)
class _Session:
    """Headers of all files first, to know which belong together; then one series at a time."""

    engine: Engine
    rules: Rules
    pool: SlicePool
    window: int
    keep_native: bool
    others: int = 0
    _headers: dict[str, list[Slice]] = field(default_factory=dict)

    def records(self, roots: Sequence[Path], progress: Progress) -> Iterator[SeriesRecord]:
        grid = self.engine.spec.grid
        plan = SlicePlan(grid.spacing_mm[1:], grid.size[1:], self.keep_native)
        arrivals: dict[Path, Arrival] = {}
        for root in roots:
            arrivals |= {one.path: one for one in _files(root)}
        task = progress.add_task("Finding series", total=len(arrivals))
        for path, result in self._in_workers(arrivals, replace(plan, pixels=False)):
            progress.advance(task)
            match result:
                case Slice():
                    self._headers.setdefault(result.header.series_uid, []).append(result)
                case NotDicom():
                    self.others += 1
                case FileNotFoundError():
                    pass
                case _:
                    yield unread_record(_problem(result), path=str(path))
        task = progress.add_task("Reading", total=sum(len(one) for one in self._headers.values()))
        for headers in self._headers.values():
            yield self._read(headers, plan, progress, task)

    def _read(self, headers: Sequence[Slice], plan: SlicePlan, progress: Progress, task: int) -> SeriesRecord:
        known = {one.arrival.path: one for one in headers}
        slices = []
        for path, result in self._in_workers(known, plan):
            progress.advance(task)  # type: ignore[arg-type]
            if isinstance(result, Slice):
                slices.append(result)
            else:
                slices.append(replace(known[path], problem=_problem(result)))
        # One whose file was replaced meanwhile may belong to another series now.
        by_series = group(slices)
        mine = by_series.get(headers[0].header.series_uid, slices)
        try:
            reading: Reading = read_series(mine, self.engine, self.rules)
        except EngineError as error:
            reading = failed(engine_failed(error), mine)
        model = ModelInUse(self.engine.spec, self.engine.digest, self.engine.identity)
        return record_of(reading, mine, model, self.rules)

    def _in_workers(
        self, paths: Iterable[Path], plan: SlicePlan
    ) -> Iterator[tuple[Path, Slice | BaseException]]:
        waiting: deque[tuple[Path, Future[Slice]]] = deque()
        for path in paths:
            waiting.append((path, self.pool.submit(path, plan)))
            if len(waiting) > self.window:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())


def _result(path: Path, future: Future[Slice]) -> tuple[Path, Slice | BaseException]:
    error = future.exception()
    return (path, future.result() if error is None else error)


def _files(root: Path) -> Iterator[Arrival]:
    if root.is_dir():
        yield from folder.scan(root, follow_links=True)
    else:
        found = folder.arrival(root.resolve())
        if found is not None:
            yield found


def _problem(error: BaseException) -> Problem:
    match error:
        case Unreadable() | WorkerLost():
            return error.problem
        case FileNotFoundError():
            return Problem(Reason.FILES_GONE, "The file vanished while it was read: run the command again.")
        case OSError():
            why = error.strerror or type(error).__name__
            return Problem(Reason.UNREADABLE, f"The file cannot be read ({why}): check its permissions.")
        case _:
            raise error
