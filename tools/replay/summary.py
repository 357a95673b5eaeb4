"""What came of a replay, in numbers and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Column, Table

from tools.replay.journal_size import TableSize
from tools.replay.ledger import Ledger
from tools.replay.vitals import Growth

BARS: Final[Mapping[str, float]] = {
    "memory_kb": 8192.0,
    "worker_memory_kb": 8192.0,
    "descriptors": 0.0,
    "threads": 0.0,
    "processes": 0.0,
}
"""How much the slope of each may add up to in a replay, however long it is. At rest too the memory differs by
the volume of a series, which the engine had last."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes in the state folder once the daemon has ended."""

    journal: int
    objects: int
    results: int


@dataclass(frozen=True, slots=True)
class Daemon:
    """What is known of the replay's own daemon: its own account, what it held while it ran, what it left."""

    conservation_error: float
    growth: Mapping[str, Growth]
    disk: Disk
    journal: Sequence[TableSize]


@dataclass(frozen=True, slots=True)
class Summary:
    """`conservation_error` counts series without a finding, and with a daemon of its own also findings of
    what was never exported; None where no results are seen. `daemon` is None where it is somebody else's."""

    seconds: float
    studies: int
    series: int
    files: int
    told_studies: int
    studies_per_hour: float
    outcomes: Mapping[str, int]
    flags: int
    last_slice_to_flag_median_s: float | None
    last_slice_to_flag_p95_s: float | None
    revised: int
    conservation_error: int | None
    repeats: int
    differing: Sequence[str]
    daemon: Daemon | None

    @classmethod
    def of(cls, ledger: Ledger, seconds: float, *, seen: bool, daemon: Daemon | None = None) -> Summary:
        waits = ledger.last_slice_to_flag_s()
        return cls(
            seconds=round(seconds, 1),
            studies=ledger.studies,
            series=ledger.series,
            files=ledger.files,
            told_studies=ledger.told_studies,
            studies_per_hour=round(3600 * ledger.told_studies / seconds, 1),
            outcomes=ledger.outcomes(),
            flags=len(waits),
            last_slice_to_flag_median_s=round(median(waits), 2) if waits else None,
            last_slice_to_flag_p95_s=round(waits[int(0.95 * (len(waits) - 1))], 2) if waits else None,
            revised=ledger.revised,
            conservation_error=ledger.untold() + (ledger.foreign() if daemon else 0) if seen else None,
            repeats=ledger.repeats(),
            differing=ledger.differing(),
            daemon=daemon,
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def problems(self) -> list[str]:
        """What should not be, a sentence each."""
        found = []
        if self.conservation_error:
            found.append(
                f"{self.conservation_error} series were exported and not told of, or the other way round."
            )
        if self.differing:
            found.append(f"The same series did not always end alike: {', '.join(self.differing)}.")
        if self.daemon is not None:
            if self.daemon.conservation_error:
                found.append(f"The daemon misses {self.daemon.conservation_error:g} series itself.")
            found += [
                f"{words(name)}: {grown.in_all:g} more in all, over {BARS[name]:g}."
                for name, grown in self.daemon.growth.items()
                if name in BARS and grown.in_all > BARS[name]
            ]
        return found


def words(name: str) -> str:
    """The name of a vital for people."""
    stem, kb, _ = name.partition("_kb")
    return stem.replace("_", " ").capitalize() + (", KB" if kb else "")


def show(summary: Summary, console: Console) -> None:
    console.print(
        f"{summary.studies} studies, {summary.series} series, {summary.files} files in"
        f" {summary.seconds:.0f} s; {summary.told_studies} studies told of,"
        f" {summary.studies_per_hour:.0f} an hour."
    )
    if summary.outcomes:
        table = Table("outcome", _right("series"))
        for outcome, count in summary.outcomes.items():
            table.add_row(outcome.replace("_", " "), str(count))
        console.print(table)
    if summary.last_slice_to_flag_median_s is not None:
        console.print(
            f"Last slice to flag: median {summary.last_slice_to_flag_median_s:.2f} s,"
            f" 95th percentile {summary.last_slice_to_flag_p95_s:.2f} s over {summary.flags} flags;"
            f" {summary.revised} readings superseded after they were told."
        )
    if summary.conservation_error is not None:
        console.print(
            f"Conservation error {summary.conservation_error}; {summary.repeats} repeated series,"
            f" {len(summary.differing)} that did not end alike."
        )
    if summary.daemon is not None:
        _show_daemon(summary.daemon, summary.series, console)
    for problem in summary.problems():
        console.print(f"[bold red]{problem}[/]")


def _show_daemon(daemon: Daemon, series: int, console: Console) -> None:
    if daemon.growth:
        titles = ("first", "last", "slope, 100 studies", "in all")
        table = Table("held by the daemon", *map(_right, titles), "bar")
        for name, grown in daemon.growth.items():
            bar = f"at most {BARS[name]:g}" if name in BARS else "explained below"
            ends = (f"{grown.first:.0f}", f"{grown.last:.0f}")
            table.add_row(words(name), *ends, f"{grown.per_100_studies:+.1f}", f"{grown.in_all:+.0f}", bar)
        console.print(table)
    table = Table("journal", _right("rows"), _right("bytes"), _right("bytes a row"), _right("bytes a series"))
    for one in daemon.journal:
        table.add_row(
            one.table, str(one.rows), str(one.bytes), f"{one.bytes_per_row:.0f}", f"{one.bytes / series:.0f}"
        )
    disk = daemon.disk
    for name, size in (("journal", disk.journal), ("objects", disk.objects), ("results", disk.results)):
        table.add_row(f"[bold]{name}[/], all", "", str(size), "", f"{size / series:.0f}")
    console.print(table)


def _right(title: str) -> Column:
    return Column(title, justify="right")
