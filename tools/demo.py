"""scanlight demo: a daemon of its own, a simulated scanner, and what comes of it."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
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
from tools.phantom import Chest, Export, Kind, make_chest, write_dose_sheet, write_localizer, write_series
from tools.scanner import Planned, export, plan

START_S = 60.0
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

    Chest phantoms are made on the spot (COVID-like, CAP-like, clear), with a localizer and a dose sheet among
    them. Everything lives in a temporary folder. Without --once it goes on until Ctrl-C.
    """
    console = Console()
    # A daemon left behind would hold the port of the next demonstration.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="scanlight-demo-") as folder:
        try:
            with _Stage(Path(folder), port, console) as stage:
                stage.play(source, once=once, rate=rate)
        except DemoFailed as error:
            console.print(f"[bold red]{error}[/]")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            console.print("Stopped.")


@dataclass(slots=True)
class _Stage:
    """The folders, the daemon and the terminal of one demonstration."""

    folder: Path
    port: int
    console: Console
    daemon: subprocess.Popen[bytes] | None = None
    labels: dict[str, str] = field(default_factory=dict)
    records: dict[str, SeriesRecord] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)

    def __enter__(self) -> _Stage:
        self.port = _free_port(self.port)
        (self.folder / "export").mkdir()
        config = self.folder / "scanlight.yaml"
        config.write_text(
            f"export_folder: {self.folder / 'export'}\n"
            f"state_folder: {self.folder / 'state'}\n"
            f"listen: 127.0.0.1:{self.port}\n"
            f"completeness: {{ceiling_s: {CEILING_S}}}\n"
        )
        self.console.print("Starting the daemon on the embedded CPU engine …")
        with (self.folder / "log").open("wb") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "appliance", "run", "--config", str(config)], stderr=log
            )
        self._wait_until_ready()
        self.console.print(f"The status page: [bold]http://127.0.0.1:{self.port}/[/]\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.daemon.wait(10)
            self.daemon.kill()

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            self._check_daemon()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise DemoFailed(
            f"The daemon was not ready after {START_S:.0f} s; its last words: {self._last_words()}"
        )

    def _check_daemon(self) -> None:
        assert self.daemon is not None
        if self.daemon.poll() is not None:
            raise DemoFailed(
                f"The daemon ended with exit status {self.daemon.returncode}: {self._last_words()}"
            )

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "none"

    def play(self, source: Path | None, *, once: bool, rate: float) -> None:
        for number, study in enumerate(_studies(source, self.folder / "made", self.console, once=once), 1):
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
                for _ in export(series, self.folder / "export" / f"study{number}" / f"series{index}", rate):
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
                    raise DemoFailed(f"Nothing new was found in {FINDING_S:.0f} s: {self._last_words()}")
                time.sleep(0.1)

    def _look(self, progress: Progress | None = None, task: TaskID | None = None) -> None:
        """Print what is new in the results folder."""
        self._check_daemon()
        results = self.folder / "state" / "results"
        for path in sorted(results.glob("[!.]*.json")):
            if path.name in self.read:
                continue
            self.read.add(path.name)
            record = SeriesRecord.from_json(path.read_text())
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


def _free_port(wanted: int) -> int:
    """The wanted port, or a free one where it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise DemoFailed("No port is free on 127.0.0.1: end a program that holds many.")


def _studies(source: Path | None, made: Path, console: Console, *, once: bool) -> Iterator[list[Planned]]:
    """Studies to play: those of a folder, or phantoms, made one study at a time."""
    if source is not None:
        found = plan(source)
        for study in dict.fromkeys(one.study_uid for one in found):
            yield [one for one in found if one.study_uid == study]
        return
    kinds: tuple[Kind, ...] = ("covid", "clear", "cap")
    for round_ in itertools.count():
        for place, kind in enumerate(kinds):
            seed = 100 + round_ * len(kinds) + place
            with console.status(f"Making a {_NAMES[kind]} chest …"):
                yield _phantom_study(made / str(seed), kind, seed)
        if once:
            return


_NAMES: dict[Kind, str] = {"covid": "COVID-like", "cap": "CAP-like", "clear": "clear"}


def _phantom_study(folder: Path, kind: Kind, seed: int) -> list[Planned]:
    chest = Chest(kind=kind, seed=seed, slice_mm=2.5, matrix=256)
    write_localizer(chest, folder / "localizer", Export())
    write_series(make_chest(chest), folder / f"{_NAMES[kind]} chest phantom", Export())
    write_dose_sheet(chest, folder / "dose sheet", Export())
    return plan(folder)
