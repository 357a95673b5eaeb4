"""scanlight replay: scanners that export studies, and what the appliance makes of them."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engines.bundle import embedded_model
from tools.own_daemon import DaemonFailed, NewResults, OwnDaemon
from tools.replay.journal_size import table_sizes
from tools.replay.ledger import Ledger
from tools.replay.play import Day, ReplayFailed, play
from tools.replay.scanners import Pace
from tools.replay.studies import Study, from_folder, phantoms
from tools.replay.summary import Daemon, Disk, Summary, show
from tools.replay.vitals import GIVE_BACK, Vitals, growth

STUDIES: Final = 100
"""So many where neither a number nor a time is asked for."""

CEILING_S: Final = 3.0
"""Shorter than a site's 30 s: what is not flagged waits so long."""

SCRAPE_S: Final = 1.0
SETTLED_S: Final = 0.7
"""After the last result; then the daemon has written down all that there is to count."""


def replay(
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Repeat the studies of this folder, not phantoms.",
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Export into this folder, which some daemon watches; else the replay has one of its own.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="With --into: that daemon's results."),
    ] = None,
    scanners: Annotated[int, typer.Option(min=1, max=64, help="So many at once.")] = 1,
    studies_per_hour: Annotated[
        float | None,
        typer.Option(min=0.01, help="Of each scanner; without it, as many as the appliance takes."),
    ] = None,
    speed: Annotated[float, typer.Option(min=0.01, help="How many times as fast their day passes.")] = 1.0,
    studies: Annotated[
        int | None, typer.Option(min=1, help=f"So many in all; {STUDIES} without --hours.")
    ] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="The length of their day.")] = None,
    keep: Annotated[int, typer.Option(min=1, help="Delete all but so many studies from the folder.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Simulate scanners that export studies into a folder, and count what is told of them.

    Each study repeats another one under new UIDs: small chest phantoms with and without disease, thick and
    thin, with localizer and dose sheet, a scan without lung, now and then a damaged file. Exits with 1 when a
    series is lost, when the same series end differently, or when what the daemon holds grows.
    """
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 110)
    # A daemon left behind would go on reading.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if results is not None and into is None:
        raise typer.BadParameter(
            "needs --into: the replay's own daemon has a results folder.", param_hint="--results"
        )
    try:
        with tempfile.TemporaryDirectory(prefix="scanlight-replay-") as name:
            folder = Path(name)
            day = Day(
                _studies(source, folder / "made", console),
                scanners,
                Pace(studies_per_hour, speed) if studies_per_hour is not None else None,
                studies if studies is not None or hours is not None else STUDIES,
                None if hours is None else hours * 3600 / speed,
                keep,
            )
            if into is None:
                summary = _own_daemon(day, folder, console)
            else:
                summary = _somebody_elses(day, into, results, console)
    except (ReplayFailed, DaemonFailed) as error:
        console.print(f"[bold red]{error}[/]", soft_wrap=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(summary.as_dict()))
    else:
        show(summary, console)
    if summary.problems():
        raise typer.Exit(1)


def _studies(source: Path | None, made: Path, console: Console) -> list[Study]:
    if source is None:
        with console.status("Making phantoms …") as status:
            return phantoms(made, lambda name: status.update(f"Making phantoms: {name} …"))
    with console.status(f"Looking at {source} …"):
        found = from_folder(source)
    if not found:
        raise ReplayFailed(f"No DICOM series was found in {source}: name a folder that holds some.")
    return found


def _own_daemon(day: Day, folder: Path, console: Console) -> Summary:
    console.print("Starting the daemon on the embedded CPU engine …")
    # What is counted is of the appliance around the model, and so is what grows: the lightest one does.
    settings = {"model": str(embedded_model("densitometry"))}
    with (
        OwnDaemon(folder, CEILING_S, settings=settings, environment=GIVE_BACK) as daemon,
        _Bar(console, day.total) as bar,
    ):
        watched = _Watched(daemon)

        def turned(ledger: Ledger) -> None:
            bar(ledger)
            watched.look()

        began = time.monotonic()
        ledger = play(day, daemon.export_folder, NewResults(daemon.results), turned, watched.rested)
        seconds = time.monotonic() - began
        error = _metric(daemon.get("metrics"), "scanlight_series_conservation_error")
    state = daemon.state_folder
    tables = table_sizes(state / "journal.db")
    disk = Disk((state / "journal.db").stat().st_size, _size(state / "objects"), _size(state / "results"))
    found = Daemon(error, growth(watched.samples), disk, tables)
    return Summary.of(ledger, seconds, seen=True, daemon=found)


def _somebody_elses(day: Day, into: Path, results: Path | None, console: Console) -> Summary:
    with _Bar(console, day.total) as bar:
        began = time.monotonic()
        ledger = play(day, into, NewResults(results) if results else None, bar)
        return Summary.of(ledger, time.monotonic() - began, seen=results is not None)


@dataclass(slots=True)
class _Watched:
    """Looks after the replay's own daemon: `samples` of what it held at rest, after so many studies."""

    daemon: OwnDaemon
    samples: list[tuple[int, Vitals]] = field(default_factory=list)
    _next_scrape_at: float = 0.0

    def look(self) -> None:
        """Scrape it, as a Prometheus would. Raises DaemonFailed when it has ended."""
        self.daemon.check()
        if time.monotonic() >= self._next_scrape_at:
            self._next_scrape_at = time.monotonic() + SCRAPE_S
            with contextlib.suppress(TimeoutError):
                self.daemon.get("metrics")

    def rested(self, ledger: Ledger) -> None:
        time.sleep(SETTLED_S)
        journal = self.daemon.state_folder / "journal.db"
        # A worker may end under the eyes.
        with contextlib.suppress(OSError):
            self.samples.append((ledger.told_studies, Vitals.of(self.daemon.pid, journal)))


class _Bar:
    """The progress of a replay, on a terminal."""

    def __init__(self, console: Console, total: int | None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._exported = self._progress.add_task("Studies exported", total=total)
        self._told = self._progress.add_task("told of", total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, ledger: Ledger) -> None:
        self._progress.update(self._exported, completed=ledger.studies)
        self._progress.update(self._told, completed=ledger.told_studies)


def _metric(text: str, name: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
