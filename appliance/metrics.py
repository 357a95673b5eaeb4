"""The metrics: sums over the journal's events, and gauges from the facts of the moment.

The journal's `event` table is append-only, so counters and histograms are computed from it rather than kept
beside it: a restart goes on where the last process ended. An event is named as its metric, without the
prefix and the suffix: `Event("series", "not_analysed", "missing_slice")`, `Event("files", kind, value=n)`,
`Event("stage_duration", "infer", value=seconds)`. A label that is on no list is shown as `other`, so that
nothing in the journal can make the number of time series grow.
"""

from __future__ import annotations

from bisect import bisect_left
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
from appliance.gpu import Gpu, Gpus
from appliance.journal import Event
from appliance.light import State, light
from appliance.reasons import RULES, Outcome, Reason

PREFIX = "scanlight_"
OTHER = "other"

EventsAfter = Callable[[int], list[tuple[int, Event]]]
"""`JournalReader.events_after`: the events since the one with this id, oldest first."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
PROBABILITY = tuple(round(0.05 * step, 2) for step in range(1, 21))

STAGES = ("parse", "volume", "queue", "infer", "record")
"""The steps whose time is measured; the keys of `timings_ms` in a record."""

FILE_KINDS = ("slice", "duplicate", "replaced", "unreadable", "before_installation", OTHER)
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

    def key(self, event: Event) -> Key:
        given = (event.label, event.label2)
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


class _Buckets:
    """The observations of one histogram: how many in each bucket, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, observations up to it), as the exposition format wants them."""
        names = (*map(str, self._bounds), "+Inf")
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))


class Totals:
    """Sums over events. Unknown events are left out: a newer version may have written them."""

    def __init__(self) -> None:
        self._counters = {c.event: (c, dict.fromkeys(c.initial(), 0.0)) for c in _COUNTERS}
        self._histograms = {
            h.event: (h, {key: _Buckets(h.bounds) for key in h.initial()}) for h in _HISTOGRAMS
        }

    def add(self, event: Event) -> None:
        if event.name in self._counters:
            family, counts = self._counters[event.name]
            key = family.key(event)
            counts[key] = counts.get(key, 0.0) + event.value
        elif event.name in self._histograms:
            family, buckets = self._histograms[event.name]
            buckets.setdefault(family.key(event), _Buckets(family.bounds)).observe(event.value)

    def collect(self) -> Iterator[Metric]:
        for family, counts in self._counters.values():
            counter = CounterMetricFamily(PREFIX + family.event, family.help, labels=list(family.labels))
            for key, value in counts.items():
                counter.add_metric(key, value)
            yield counter
        for family, buckets in self._histograms.values():
            histogram = HistogramMetricFamily(
                PREFIX + family.event, family.help, labels=list(family.labels), unit=family.unit
            )
            for key, observed in buckets.items():
                histogram.add_metric(key, observed.cumulative(), observed.sum)
            yield histogram


class _Metrics(Collector):
    def __init__(self, facts: Callable[[], Facts], events_after: EventsAfter) -> None:
        self._facts = facts
        self._events_after = events_after
        self._totals = Totals()
        self._last_id = 0
        self._gpus = Gpus()

    def collect(self) -> Iterator[Metric]:
        for event_id, event in self._events_after(self._last_id):
            self._totals.add(event)
            self._last_id = event_id
        yield from self._totals.collect()
        yield from gauges(self._facts())
        yield from gpu_gauges(self._gpus.look())


def registry(facts: Callable[[], Facts], events_after: EventsAfter) -> CollectorRegistry:
    """A registry with every metric of Scanlight and of its process.

    Each scrape takes the newest facts and reads the events since the scrape before; what `events_after`
    raises comes out of the scrape. Use it from one thread.
    """
    metrics = CollectorRegistry()
    metrics.register(_Metrics(facts, events_after))
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
    yield _gauge("oldest_pending_seconds", "Age of the oldest series in flight.", facts.oldest_pending_s)
    yield _gauges(
        "light_state",
        "1 for the state that the light shows, 0 for the others.",
        "state",
        {state: state is shown.state for state in State},
    )
    yield _gauge("unacknowledged", "Suspect studies that nobody has acknowledged.", facts.suspect)
    yield _gauges(
        "delivery_oldest_seconds",
        "Age of the oldest finding that is not delivered.",
        "destination",
        facts.delivery_oldest_s,
    )
    yield _gauge("known_answer_ok", "1 when the known answers last came out right.", facts.known_answer_ok)
    yield _gauge("known_answer_timestamp_seconds", "When the known answers last ran.", facts.known_answer_at)
    yield _gauge("rescan_timestamp_seconds", "When the export folder was last scanned.", facts.rescan_at)
    yield _gauge("export_folder_up", "1 while the export folder can be read.", facts.folder_up)
    yield _gauges("disk_free_bytes", "Free space, by volume.", "volume", facts.disk_free_bytes)
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
