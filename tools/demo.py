"""scanlight demo: a daemon of its own, a simulated scanner, and what comes of it."""

from __future__ import annotations

import itertools
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from appliance.commands.table import STYLES, print_records, words
from appliance.findings.record import SeriesRecord
from appliance.reasons import RULES
from tools.own_daemon import DaemonFailed, NewResults, OwnDaemon
from tools.phantom import Chest, Export, Kind, make_chest, write_dose_sheet, write_localizer, write_series
from tools.scanner import Planned, export, plan

FINDING_S = 90.0
CEILING_S = 5
"""Shorter than a site's 30 s, so that the demonstration does not wait long to say "not flagged"."""


class DemoFailed(Exception):
    """The demonstration cannot go on; one sentence."""


def demo(
    source: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Play this folder of DICOM instead."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when everything has been read.")] = False,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Slices a second.")] = 60.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0: any free one.")] = 8080,
) -> None:
    """Play a simulated scanner to a daemon of its own and print each finding as it comes.

    Chest phantoms are made on the spot (COVID-like, CAP-like, clear, and one that lacks a slice), with a
    localizer and a dose sheet among them. Everything lives in a temporary folder. Without --once it goes on
    until Ctrl-C.
    """
    console = Console()
    # A daemon left behind would hold the port of the next demonstration.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="scanlight-demo-") as folder:
        try:
            console.print("Starting the daemon on the embedded CPU engine …")
            with OwnDaemon(Path(folder), CEILING_S, port) as daemon:
                console.print(f"The status page: [bold]{daemon.url}[/]")
                console.print(f"Open a study there, acknowledge it; metrics are at {daemon.url}/metrics.\n")
                _Stage(daemon, console, NewResults(daemon.results)).play(source, once=once, rate=rate)
        except (DemoFailed, DaemonFailed) as error:
            console.print(f"[bold red]{error}[/]")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            console.print("Stopped.")


@dataclass(slots=True)
class _Stage:
    """The daemon and the terminal of one demonstration, and what has been found."""

    daemon: OwnDaemon
    console: Console
    new_results: NewResults
    labels: dict[str, str] = field(default_factory=dict)
    records: dict[str, SeriesRecord] = field(default_factory=dict)

    def play(self, source: Path | None, *, once: bool, rate: float) -> None:
        studies = _studies(source, self.daemon.folder / "made", self.console, once=once)
        for number, study in enumerate(studies, 1):
            self._export(number, study, rate)
        self._wait_for_all()
        if not self.labels:
            raise DemoFailed(f"No DICOM series were found in {source}: name a folder that holds some.")
        if not once:
            self.console.print("All has been played; the page stays up until Ctrl-C.")
            while True:
                self._look()
                time.sleep(0.5)
        self.console.print()
        print_records(self.console, [self.records[uid] for uid in self.labels], self.labels)

    def _export(self, number: int, study: list[Planned], rate: float) -> None:
        with self._progress() as progress:
            for index, series in enumerate(study, 1):
                self.labels[series.series_uid] = label = f"{number}. {series.label}"
                task = progress.add_task(f"Scanner exports {label}", total=len(series.files))
                folder = self.daemon.export_folder / f"study{number}" / f"series{index}"
                for _ in export((path.read_bytes() for path in series.files), folder, rate):
                    progress.advance(task)
                    self._look(progress)
                progress.remove_task(task)

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def _wait_for_all(self) -> None:
        with self._progress() as progress:
            task = progress.add_task("Waiting for the last findings", total=len(self.labels))
            last, since = -1, time.monotonic()
            while self.labels.keys() - self.records.keys():
                self._look(progress, task)
                if len(self.records) != last:
                    last, since = len(self.records), time.monotonic()
                if time.monotonic() - since > FINDING_S:
                    raise DemoFailed(
                        f"Nothing new was found in {FINDING_S:.0f} s: {self.daemon.last_words()}"
                    )
                time.sleep(0.1)

    def _look(self, progress: Progress | None = None, task: TaskID | None = None) -> None:
        """Print what is new in the results folder."""
        self.daemon.check()
        for record, _ in self.new_results():
            if record.series_uid is not None:
                self.records[record.series_uid] = record
            self._print(record)
        if progress is not None and task is not None:
            progress.update(task, completed=len(self.records))

    def _print(self, record: SeriesRecord) -> None:
        assert record.outcome is not None
        label = self.labels.get(record.series_uid or "", record.path or "")
        style = STYLES[record.outcome]
        said = [f"[{style}]{words(record.outcome)}[/]" if style else words(record.outcome)]
        if record.probability is not None:
            said.append(f"p = {record.probability:.3f}")
        if record.reason is not None:
            said.append(RULES[record.reason].sentence)
        if record.revision and record.revision > 1:
            said.append(f"revision {record.revision}")
        self.console.print(f"  {label}: {', '.join(said)}", highlight=False, soft_wrap=True)


def _studies(source: Path | None, made: Path, console: Console, *, once: bool) -> Iterator[list[Planned]]:
    """Studies to play: those of a folder, or phantoms, made one study at a time."""
    if source is not None:
        found = plan(source)
        for study in dict.fromkeys(one.study_uid for one in found):
            yield [one for one in found if one.study_uid == study]
        return
    kinds: tuple[Kind, ...] = ("covid", "clear", "cap", "clear")
    for round_ in itertools.count():
        for place, kind in enumerate(kinds):
            seed = 100 + round_ * len(kinds) + place
            with console.status(f"Making a {_NAMES[kind]} chest …"):
                yield _phantom_study(made / str(seed), kind, seed, whole=place < len(kinds) - 1)
        if once:
            return


_NAMES: dict[Kind, str] = {"covid": "COVID-like", "cap": "CAP-like", "clear": "clear"}


def _phantom_study(folder: Path, kind: Kind, seed: int, *, whole: bool) -> list[Planned]:
    chest = Chest(kind=kind, seed=seed, slice_mm=2.5, matrix=256)
    write_localizer(chest, folder / "localizer", Export())
    label = f"{_NAMES[kind]} chest phantom" + ("" if whole else " that lacks a slice")
    files = write_series(make_chest(chest), folder / label, Export())
    if not whole:
        files[len(files) // 2].unlink()
    write_dose_sheet(chest, folder / "dose sheet", Export())
    return plan(folder)
