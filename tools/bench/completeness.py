"""scanlight bench completeness: how soon and how surely a daemon knows that a series is complete."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from appliance.commands.table import words
from appliance.findings.record import SeriesRecord
from engines.bundle import embedded_model
from tools.bench.completeness_arrivals import PATTERNS, Place
from tools.bench.completeness_clock import MISSING, Clock
from tools.bench.completeness_exporter import SENTINEL, Exported, Exporter
from tools.bench.completeness_observer import Observer
from tools.bench.completeness_outcomes import Bar, Row, bars, median_of, row_of
from tools.bench.completeness_runs import DEFAULTS, FAST, Run, Setting, make_sources, overlapping_runs
from tools.own_daemon import DaemonFailed, OwnDaemon

MODEL = embedded_model("densitometry")
"""Times are of the wait for completeness, and this model adds nearly none."""


def completeness(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Small phantoms alone, a ceiling of 5 s, stalls shorter by as much; no delay judged.",
        ),
    ] = False,
) -> None:
    """Replay arrival patterns to daemons of its own and look at what they tell, when, and what they revise.

    Exits 1 when a bar is missed. With the default settings it takes about eight minutes, --fast one.
    """
    setting = FAST if fast else DEFAULTS
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 150)
    try:
        with tempfile.TemporaryDirectory(prefix="scanlight-bench-") as folder:
            report = measure(Path(folder), setting, console)
    except DaemonFailed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(report.as_dict()))
    else:
        console.print(_patterns_table(report))
        console.print(_bars_table(report))
    if any(bar.met is False for bar in report.bars):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured; `not_run` says of patterns why not."""

    setting: Setting
    rows: Sequence[Row]
    readings_superseded: int
    not_run: Mapping[str, str]

    @property
    def bars(self) -> list[Bar]:
        return bars(self.rows, defaults=self.setting is DEFAULTS)

    def as_dict(self) -> dict[str, Any]:
        return {
            "settings": asdict(self.setting),
            "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()},
            "bars": {bar.name: asdict(bar) for bar in self.bars},
            "readings_superseded": self.readings_superseded,
            "not_run": dict(self.not_run),
            "series": [asdict(row) for row in self.rows],
        }


def measure(folder: Path, setting: Setting, console: Console) -> Report:
    """Everything: sources, daemons, exports at the same time, and then the files read once more."""
    with console.status("Making the series"):
        sources = make_sources(folder / "sources", setting)
    clock = Clock.in_folder(folder / "time")
    not_run = {one.name: MISSING for one in PATTERNS if one.place == "clock" and clock is None}
    runs = overlapping_runs([one for one in PATTERNS if one.name not in not_run], sources, setting)
    with contextlib.ExitStack() as stack:
        with console.status("Starting the daemons"):
            daemons = {
                place: stack.enter_context(_daemon(folder / place, place, setting, clock))
                for place in sorted({run.pattern.place for run in runs})
            }
        observers = {place: Observer(daemon) for place, daemon in daemons.items()}
        for observer in observers.values():
            observer.start()
        exported = _play(runs, daemons, folder / "hidden", clock, console)
        with console.status("Waiting for the last findings"):
            _settle(observers.values(), daemons.values(), setting)
        superseded = sum(observer.readings_superseded() for observer in observers.values())
        for observer in observers.values():
            observer.stop()
    with console.status("Reading the files as they are now"):
        final = _read([daemon.export_folder for daemon in daemons.values()])
    rows = []
    for run, when in zip(runs, exported, strict=True):
        observer, uid = observers[run.pattern.place], run.series_uid
        told, thrown_away = observer.told[uid], observer.thrown_away[uid]
        rows.append(row_of(run.pattern, run.source.name, run.slices, when, told, thrown_away, final.get(uid)))
    return Report(setting, rows, superseded, not_run)


def _daemon(folder: Path, place: Place, setting: Setting, clock: Clock | None) -> OwnDaemon:
    folder.mkdir()
    tempo = setting.tempo
    settings = {
        "completeness": {
            "floor_s": tempo.floor_s,
            "ceiling_s": tempo.ceiling_s,
            "sentinel": {"glob": SENTINEL},
        },
        "rescan_s": setting.rescan_s,
        "polling": "on" if place == "share" else "off",
        "model": str(MODEL),
    }
    environment = clock.environment if clock and place == "clock" else {}
    return OwnDaemon(folder, tempo.ceiling_s, settings=settings, environment=environment)


def _play(
    runs: Sequence[Run],
    daemons: Mapping[Place, OwnDaemon],
    hidden: Path,
    clock: Clock | None,
    console: Console,
) -> list[Exported]:
    began = time.monotonic()

    def export(number: int, run: Run) -> Exported:
        place = run.pattern.name if run.pattern.together else run.name
        exporter = Exporter(
            daemons[run.pattern.place].export_folder / place,
            f"{number}-",
            run.content,
            hidden / str(number),
            clock.set if clock else lambda seconds: None,
        )
        time.sleep(max(0.0, began + run.at_s - time.monotonic()))
        return exporter.play(run.steps)

    columns = TextColumn("Exporting"), BarColumn(), MofNCompleteColumn()
    with (
        ThreadPoolExecutor(len(runs)) as threads,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("", total=len(runs))
        futures = [threads.submit(export, number, run) for number, run in enumerate(runs)]
        for future in futures:
            future.add_done_callback(lambda _: bar.advance(task))
        return [future.result() for future in futures]


def _settle(observers: Collection[Observer], daemons: Collection[OwnDaemon], setting: Setting) -> None:
    """Until nothing is in progress any more, though a rescan has seen all files."""
    seen = time.monotonic() + setting.rescan_s + 1
    end = seen + 4 * setting.tempo.ceiling_s + 60
    while time.monotonic() < end:
        for daemon in daemons:
            daemon.check()
        idle = [observer.idle_since for observer in observers]
        now = time.monotonic()
        if now > seen and all(since is not None and now - since > 1 for since in idle):
            return
        time.sleep(0.1)


def _read(folders: Sequence[Path]) -> dict[str, str | None]:
    """The reading keys that another process, without a daemon, gives the series, by their UIDs."""
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "read", "--json", "--model", MODEL, *folders],
        capture_output=True,
        text=True,
        check=False,
    )
    records = map(SeriesRecord.from_json, done.stdout.splitlines())
    return {one.series_uid: one.reading_key for one in records if one.series_uid is not None}


def _patterns_table(report: Report) -> Table:
    """A row for each pattern, over all series that were exported in it."""
    by_pattern: dict[str, list[Row]] = {}
    for row in report.rows:
        by_pattern.setdefault(row.pattern, []).append(row)
    table = Table(
        title=f"Floor {report.setting.tempo.floor_s:g} s, ceiling {report.setting.tempo.ceiling_s:g} s;"
        " seconds from the last slice, medians",
        caption=f"{report.readings_superseded} readings thrown away in all, by the daemons' own count",
    )
    table.add_column("pattern")
    for name in ("series", "to complete", "to flag", "to no flag", "thrown away", "revised", "unsuperseded"):
        table.add_column(name, justify="right")
    table.add_column("ended as")
    for pattern in PATTERNS:
        rows = by_pattern.get(pattern.name)
        if rows is None:
            table.add_row(pattern.name, report.not_run[pattern.name])
            continue
        table.add_row(
            pattern.name,
            str(len(rows)),
            _seconds(row.to_complete_s for row in rows),
            _seconds(row.to_flag_s for row in rows),
            _seconds(row.to_no_flag_s for row in rows),
            str(sum(row.thrown_away for row in rows)),
            _counts(outcome for row in rows for outcome in row.revised),
            str(sum(not row.final for row in rows)),
            _counts(row.outcome or "nothing" for row in rows),
        )
    return table


def _seconds(values: Iterable[float | None]) -> str:
    middle = median_of(values)
    return "" if middle is None else f"{middle:.2f}"


def _counts(outcomes: Iterable[str]) -> str:
    counted = Counter(outcomes)
    return ", ".join(f"{count} {words(outcome)}" for outcome, count in sorted(counted.items()))


def _bars_table(report: Report) -> Table:
    table = Table("bar", "measured", "at most", "verdict")
    for bar in report.bars:
        verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: "not judged with --fast"}[bar.met]
        table.add_row(bar.name, "" if bar.value is None else f"{bar.value:g}", f"{bar.bar:g}", verdict)
    return table
