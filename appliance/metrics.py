"""The metrics: sums over the journal's events, and gauges from the facts of the moment.

The journal keeps the sums together with its events: a restart goes on where the last process ended, and
a scrape reads some hundred rows, however many series there were. An event is named as its metric, without the
prefix and the suffix: `Event("series", "not_analysed", "missing_slice")`, `Event("files", kind, value=n)`,
`Event("stage_duration", "infer", value=seconds)`. A label that is on no list is shown as `other`, so that
nothing in the journal can make the number of time series grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import accumulate, product

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from appliance.delivery import results_folder
from appliance.facts import Facts
from appliance.gpu import Gpu
from appliance.journal import Total
from appliance.light import State, light
from appliance.reasons import RULES, Outcome, Reason

PREFIX = "scanlight_"
OTHER = "other"

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
PROBABILITY = tuple(round(0.05 * step, 2) for step in range(1, 21))
"""The bounds of the buckets in which the journal counts; others need a migration there."""

STAGES = ("parse", "volume", "queue", "infer", "record")
"""The steps whose time is measured; the keys of `timings_ms` in a record."""

FILE_KINDS = ("slice", "duplicate", "replaced", "read_again", "unreadable", "before_installation", OTHER)
COMPLETED_BY = ("sentinel", "count", "quiet")
DESTINATIONS = (results_folder.DESTINATION,)
DELIVERY_RESULTS = ("delivered", "failed")
HINTS_LOST = ("overflow", "limit", "broken")
WORKER_ENDS = ("crashed", "timeout", "memory")

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Family:
    """A counter or, with `bounds`, a histogram; `labels` has the closed list of values of each label.

    Every combination exists from the start, so that `increase()` sees the first event, or those of `keys`.
    """

    event: str
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keys: tuple[Key, ...] | None = None
    bounds: tuple[float, ...] = ()
    unit: str = ""

    def initial(self) -> Iterable[Key]:
        return product(*self.labels.values()) if self.keys is None else self.keys

    def key(self, total: Total) -> Key:
        given = (total.label, total.label2)
        allowed = self.labels.values()
        return tuple(
            value if value in values else OTHER for value, values in zip(given, allowed, strict=False)
        )


def _ends() -> Iterator[Key]:
    """Every outcome and reason that a series can end with, whatever a site has moved."""
    yield str(Outcome.FLAGGED), ""
    yield str(Outcome.NOT_FLAGGED), ""
    for reason, rule in RULES.items():
        outcomes = (Outcome.SKIPPED, Outcome.NOT_ANALYSED) if rule.movable else (rule.outcome,)
        yield from ((str(outcome), str(reason)) for outcome in outcomes)


_COUNTERS = (
    _Family(
        "series",
        "Series that ended, each revision once, by outcome and reason.",
        {"outcome": tuple(map(str, Outcome)), "reason": ("", *map(str, Reason))},
        keys=tuple(_ends()),
    ),
    _Family("files", "Files read in the export folder, by kind.", {"kind": FILE_KINDS}),
    _Family("completed", "Series found complete, by what showed it.", {"by": COMPLETED_BY}),
    _Family("readings_superseded", "Readings that were thrown away because a slice came later."),
    _Family(
        "deliveries",
        "Tries to deliver a finding, by destination and result.",
        {"destination": DESTINATIONS, "result": DELIVERY_RESULTS},
    ),
    _Family(
        "watch_hints_lost",
        "Times that the file system's hints were missing, so that only looking at the folder told of files.",
        {"reason": HINTS_LOST},
    ),
    _Family("worker_restarts", "Worker processes lost and replaced, by cause.", {"reason": WORKER_ENDS}),
)

_HISTOGRAMS = (
    _Family(
        "stage_duration",
        "Time that a series spent in each stage.",
        {"stage": STAGES},
        bounds=SECONDS,
        unit="seconds",
    ),
    _Family(
        "last_slice_to_flag",
        "Time from the last slice of a series to its flag on record.",
        bounds=SECONDS,
        unit="seconds",
    ),
    _Family("probability", "Probabilities that the model gave.", bounds=PROBABILITY),
)


def sums(totals: Iterable[Total]) -> Iterator[Metric]:
    """Counters and histograms. Unknown events are left out: a newer version may have written them."""
    by_event: dict[str, list[Total]] = defaultdict(list)
    for total in totals:
        by_event[total.name].append(total)
    for family in _COUNTERS:
        yield _counter(family, by_event[family.event])
    for family in _HISTOGRAMS:
        yield _histogram(family, by_event[family.event])


def _counter(family: _Family, totals: Iterable[Total]) -> Metric:
    counts = dict.fromkeys(family.initial(), 0.0)
    for total in totals:
        key = family.key(total)
        counts[key] = counts.get(key, 0.0) + total.value
    counter = CounterMetricFamily(PREFIX + family.event, family.help, labels=list(family.labels))
    for key, count in counts.items():
        counter.add_metric(key, count)
    return counter


def _histogram(family: _Family, totals: Iterable[Total]) -> Metric:
    """The exposition format wants each bucket with those below it."""
    sums = dict.fromkeys(family.initial(), 0.0)
    buckets = {key: [0] * (len(family.bounds) + 1) for key in sums}
    for total in totals:
        key = family.key(total)
        sums[key] = sums.get(key, 0.0) + total.value
        counts = buckets.setdefault(key, [0] * (len(family.bounds) + 1))
        counts[bisect_left(family.bounds, total.up_to)] += total.events
    histogram = HistogramMetricFamily(
        PREFIX + family.event, family.help, labels=list(family.labels), unit=family.unit
    )
    names = (*map(str, family.bounds), "+Inf")
    for key, counts in buckets.items():
        cumulative = zip(names, map(float, accumulate(counts)), strict=True)
        histogram.add_metric(key, list(cumulative), sums[key])
    return histogram


class _Metrics(Collector):
    def __init__(self, facts: Callable[[], Facts], totals: Callable[[], Iterable[Total]]) -> None:
        self._facts = facts
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        yield from sums(self._totals())
        yield from gauges(self._facts())


def registry(facts: Callable[[], Facts], totals: Callable[[], Iterable[Total]]) -> CollectorRegistry:
    """A registry with every metric of Scanlight and of its process.

    Each scrape takes the newest facts and `JournalReader.totals`; what these raise comes out of the scrape.
    """
    metrics = CollectorRegistry()
    metrics.register(_Metrics(facts, totals))
    ProcessCollector(registry=metrics)
    return metrics


def gauges(facts: Facts) -> Iterator[Metric]:
    """What is true now. A moment or a result that has not come yet has no sample."""
    shown = light(facts)
    yield _gauge("series_in_flight", "Series seen and not ended.", len(facts.in_progress))
    yield _gauge(
        "series_conservation_error",
        "Series in the folder without a row in the journal, or rows neither ended nor in flight.",
        facts.conservation_error,
    )
    yield _gauges("queue_depth", "Pieces of work that wait, by stage.", "stage", facts.queue_depth)
    yield _gauge(
        "oldest_pending_seconds",
        "Time since the oldest series or file in flight was first seen.",
        facts.oldest_pending_s,
    )
    yield _gauges(
        "light_state",
        "1 for the state that the light shows, 0 for the others.",
        "state",
        {state: state is shown.state for state in State},
    )
    yield _gauge(
        "lamp_ok",
        "1 while the command of the lamp works; no sample without a lamp.",
        None if facts.lamp == "off" else facts.lamp == "ok",
    )
    yield _gauge("unacknowledged", "Suspect studies that nobody has acknowledged.", facts.suspect)
    yield _gauges(
        "unseen",
        "Studies with a series that was not analysed or failed and that nobody has marked as seen.",
        "outcome",
        {Outcome.NOT_ANALYSED: facts.not_analysed, Outcome.FAILED: facts.failed},
    )
    yield _gauge(
        "unacknowledged_oldest_seconds",
        "Age of the oldest flag that nobody has acknowledged, 0 when all are.",
        facts.oldest_alarm_s,
    )
    yield _gauges(
        "delivery_oldest_seconds",
        "Age of the oldest finding that is not delivered, 0 when all are.",
        "destination",
        _oldest(facts.delivery_oldest_s),
    )
    yield _gauge("known_answer_ok", "1 when the known answers last came out right.", facts.known_answer_ok)
    yield _gauge("known_answer_timestamp_seconds", "When the known answers last ran.", facts.known_answer_at)
    yield _gauge("rescan_timestamp_seconds", "When the export folder was last scanned.", facts.rescan_at)
    yield _gauge("export_folder_up", "1 while the export folder can be read.", facts.folder_up)
    yield _gauges("disk_free_bytes", "Free space, by volume.", "volume", facts.disk_free_bytes)
    yield from gpu_gauges(facts.gpus)
    model, engine = facts.model, facts.model.engine
    yield InfoMetricFamily(
        PREFIX + "engine",
        "The engine, empty until it is loaded, and the model.",
        {
            "engine": engine.runner if engine else "",
            "model": model.name,
            "version": model.version,
            "flavour": engine.flavour if engine else "",
        },
    )
    yield InfoMetricFamily(PREFIX + "build", "This version of Scanlight.", {"version": version("scanlight")})


def _oldest(by_destination: Mapping[str, float]) -> dict[str, float]:
    """A newer version may have left findings for a destination that this one does not know."""
    oldest = dict.fromkeys(DESTINATIONS, 0.0)
    for destination, age in by_destination.items():
        key = destination if destination in DESTINATIONS else OTHER
        oldest[key] = max(oldest.get(key, 0.0), age)
    return oldest


def gpu_gauges(gpus: Sequence[Gpu]) -> Iterator[Metric]:
    """What the GPUs tell; none without a GPU."""
    for name, text, values in (
        ("temperature_celsius", "Temperature of the GPU.", [one.temperature_celsius for one in gpus]),
        ("memory_bytes", "Memory of the GPU that is in use.", [one.memory_bytes for one in gpus]),
        (
            "utilization_ratio",
            "Part of the time that it works.",
            [one.utilization_ratio for one in gpus],
        ),
    ):
        told = {str(gpu.device): value for gpu, value in zip(gpus, values, strict=True) if value is not None}
        yield _gauges(f"gpu_{name}", text, "device", told)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text)
    if value is not None:
        family.add_metric([], float(value))
    return family


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], float(value))
    return family
