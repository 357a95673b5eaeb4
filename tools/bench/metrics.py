"""scanlight bench metrics: how fast /metrics answers over a journal of years, against counters in memory.

The peer is prometheus_client's own registry with the same families and values, which it keeps in memory and
loses at a restart, behind the web server that comes with it.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import typer
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from engines.bundle import embedded_model
from tools.bench.long_journal import make_long_journal
from tools.own_daemon import DaemonFailed, OwnDaemon

FAILED: Final = 1
CEILING_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds for a whole answer. `first` is a daemon's first one after its start, the slowest of all
    starts; `unlike` counts the samples that the daemon and the peer do not share, without gauges and sums.
    """

    series: int
    events: int
    journal_mb: float
    starts: int
    rounds: int
    first_ms: float
    median_ms: float
    slowest_ms: float
    peer_median_ms: float
    peer_slowest_ms: float
    unlike: int


def metrics(
    series: Annotated[int, typer.Option(min=1, help="So many series in the journal.")] = 100_000,
    starts: Annotated[int, typer.Option(min=1, help="So many starts of the daemon.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="So many scrapes of each, taking turns.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Ask a daemon with a journal of years for its metrics, in turns with a peer that has them in memory.

    Exit 1 when the two do not tell the same.
    """
    with tempfile.TemporaryDirectory(prefix="scanlight-bench-") as made:
        try:
            result = measure(Path(made), series, starts, rounds)
        except DaemonFailed as error:
            typer.echo(error, err=True)
            raise typer.Exit(FAILED) from error
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        table = Table("", f"{series:,} series", box=None)
        for name, value in asdict(result).items():
            table.add_row(
                name.replace("_", " "), f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
            )
        Console().print(table)
    if result.unlike:
        raise typer.Exit(FAILED)


def measure(folder: Path, series: int, starts: int, rounds: int) -> Result:
    """Raises DaemonFailed."""
    state = folder / "state"
    state.mkdir(mode=0o750)
    events = make_long_journal(state / "journal.db", series)
    size = (state / "journal.db").stat().st_size
    firsts, ours, peers = [], [], []
    with ExitStack() as stack:
        for start in range(starts):
            stack.close()
            own = folder / str(start)
            own.mkdir()
            settings = {"state_folder": str(state), "model": str(embedded_model("densitometry"))}
            daemon = stack.enter_context(OwnDaemon(own, CEILING_S, settings=settings))
            text, seconds = _scrape(daemon.port)
            firsts.append(seconds)
        peer = _peer(text)
        server, thread = start_http_server(0, "127.0.0.1", peer)
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        for _ in range(rounds):
            text, seconds = _scrape(daemon.port)
            ours.append(seconds)
            peer_text, seconds = _scrape(server.server_port)
            peers.append(seconds)
    return Result(
        series=series,
        events=events,
        journal_mb=size / 2**20,
        starts=starts,
        rounds=rounds,
        first_ms=1000 * max(firsts),
        median_ms=1000 * median(ours),
        slowest_ms=1000 * max(ours),
        peer_median_ms=1000 * median(peers),
        peer_slowest_ms=1000 * max(peers),
        unlike=len(_lasting(text) ^ _lasting(peer_text)),
    )


def _scrape(port: int) -> tuple[str, float]:
    """The whole answer, and what it took with its connection."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    seconds = time.perf_counter() - began
    connection.close()
    return text, seconds


def _ours(text: str) -> list[Metric]:
    return [one for one in text_string_to_metric_families(text) if one.name.startswith("scanlight_")]


def _peer(text: str) -> CollectorRegistry:
    """What was scraped, as somebody would keep it in memory."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for family in _ours(text):
        names = sorted({name for sample in family.samples for name in sample.labels} - {"le"})
        if family.type == "histogram":
            _observe(family, names, registry)
            continue
        kind = Counter if family.type == "counter" else Gauge
        kept = kind(family.name, family.documentation, names, registry=registry)
        for sample in family.samples:
            child = kept.labels(**sample.labels) if names else kept
            child.inc(sample.value)
    return registry


def _observe(family: Metric, names: list[str], registry: CollectorRegistry) -> None:
    """Every observation once more, at the upper end of its bucket."""
    buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
    bounds = sorted({float(sample.labels["le"]) for sample in buckets})
    kept = Histogram(family.name, family.documentation, names, registry=registry, buckets=bounds)
    below = 0.0
    for sample in buckets:
        child = kept.labels(**{name: sample.labels[name] for name in names}) if names else kept
        bound = float(sample.labels["le"])
        below = 0.0 if bound == bounds[0] else below
        for _ in range(int(sample.value - below)):
            child.observe(min(bound, bounds[-2] + 1))
        below = sample.value


def _lasting(text: str) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
    """The samples that do not depend on the moment, but for the sums that the peer cannot have."""
    return {
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in _ours(text)
        if family.type != "gauge"
        for sample in family.samples
        if not (family.type == "histogram" and sample.name.endswith("_sum"))
    }
