"""The metrics: sums over the journal's events, and gauges from the facts of the moment.

The journal's `event` table is append-only, so counters and histograms are computed from it rather than kept
beside it: a restart goes on where the last process ended. An event is named as its metric, without the
prefix and the suffix: `Event("series", "not_analysed", "missing_slice")`, `Event("files", kind, value=n)`,
`Event("stage_duration", "infer", value=seconds)`. A label that is on no list is shown as `other`, so that
nothing in the journal can make the number of time series grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate

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

FILE_KINDS = ("slice", "image", "object", "duplicate", "replaced", "not_dicom", "unreadable")
COMPLETED_BY = ("sentinel", "count", "quiet")
DESTINATIONS = (results_folder.DESTINATION,)
DELIVERY_RESULTS = ("delivered", "failed")
WORKER_ENDS = tuple(map(str, (Reason.WORKER_CRASHED, Reason.WORKER_TIMEOUT, Reason.WORKER_MEMORY)))


@dataclass(frozen=True, slots=True)
class _Label:
    """A label and its closed list of values."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Counter:
    """`zeros` are the label values that exist from the start, so that `increase()` sees the first event."""

    event: str
    help: str
    labels: tuple[_Label, ...] = ()
    zeros: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class _Histogram:
    event: str
    unit: str
    help: str
    bounds: tuple[float, ...]
    labels: tuple[_Label, ...] = ()
    zeros: tuple[tuple[str, ...], ...] = ()


def _each(values: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple((value,) for value in values)


def _ends() -> Iterator[tuple[str, str]]:
    """Every outcome and reason that a series can end with, whatever a site has moved."""
    yield Outcome.FLAGGED, ""
    yield Outcome.NOT_FLAGGED, ""
    for reason, rule in RULES.items():
        if rule.movable:
            yield Outcome.SKIPPED, reason
            yield Outcome.NOT_ANALYSED, reason
        else:
            yield rule.outcome, reason


_COUNTERS = (
    _Counter(
        "series",
        "Series that ended, each revision once, by outcome and reason.",
        (_Label("outcome", tuple(map(str, Outcome))), _Label("reason", ("", *map(str, Reason)))),
        tuple((str(outcome), str(reason)) for outcome, reason in _ends()),
    ),
    _Counter("files", "Files read in the export folder, by kind.", (_Label("kind", FILE_KINDS),)),
    _Counter(
        "completed",
        "Series found complete, by what showed it.",
        (_Label("by", COMPLETED_BY),),
        _each(COMPLETED_BY),
    ),
    _Counter("readings_superseded", "Readings that a later revision replaced.", (), ((),)),
    _Counter(
        "deliveries",
        "Tries to deliver a finding, by destination and result.",
        (_Label("destination", DESTINATIONS), _Label("result", DELIVERY_RESULTS)),
        tuple((where, result) for where in DESTINATIONS for result in DELIVERY_RESULTS),
    ),
    _Counter(
        "worker_restarts",
        "Worker processes started again, by why the last one ended.",
        (_Label("reason", WORKER_ENDS),),
        _each(WORKER_ENDS),
    ),
)

_HISTOGRAMS = (
    _Histogram(
        "stage_duration",
        "seconds",
        "Time that a series spent in each stage.",
        SECONDS,
        (_Label("stage", STAGES),),
        _each(STAGES),
    ),
    _Histogram(
        "last_slice_to_flag",
        "seconds",
        "Time from the last slice of a series to its finding on record.",
        SECONDS,
        (),
        ((),),
    ),
    _Histogram("probability", "", "Probabilities that the model gave.", PROBABILITY, (), ((),)),
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
        self._counters = {c.event: (c, dict.fromkeys(c.zeros, 0.0)) for c in _COUNTERS}
        self._histograms = {h.event: (h, {key: _Buckets(h.bounds) for key in h.zeros}) for h in _HISTOGRAMS}

    def add(self, event: Event) -> None:
        if event.name in self._counters:
            counter, values = self._counters[event.name]
            key = _bounded(counter.labels, event)
            values[key] = values.get(key, 0.0) + event.value
        elif event.name in self._histograms:
            histogram, buckets = self._histograms[event.name]
            key = _bounded(histogram.labels, event)
            buckets.setdefault(key, _Buckets(histogram.bounds)).observe(event.value)

    def collect(self) -> Iterator[Metric]:
        for counter, values in self._counters.values():
            labels = [label.name for label in counter.labels]
            counts = CounterMetricFamily(PREFIX + counter.event, counter.help, labels=labels)
            for key, value in values.items():
                counts.add_metric(key, value)
            yield counts
        for histogram, buckets in self._histograms.values():
            labels = [label.name for label in histogram.labels]
            family = HistogramMetricFamily(
                PREFIX + histogram.event, histogram.help, labels=labels, unit=histogram.unit
            )
            for key, observed in buckets.items():
                family.add_metric(key, observed.cumulative(), observed.sum)
            yield family


def _bounded(labels: tuple[_Label, ...], event: Event) -> tuple[str, ...]:
    given = (event.label, event.label2)
    return tuple(
        value if value in label.values else OTHER for label, value in zip(labels, given, strict=False)
    )


class _Metrics(Collector):
    def __init__(self, facts: Callable[[], Facts], events_after: EventsAfter) -> None:
        self._facts = facts
        self._events_after = events_after
        self._totals = Totals()
        self._last_id = 0

    def collect(self) -> Iterator[Metric]:
        for event_id, event in self._events_after(self._last_id):
            self._totals.add(event)
            self._last_id = event_id
        yield from self._totals.collect()
        yield from gauges(self._facts())


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
    engine = InfoMetricFamily(PREFIX + "engine", "The engine and the model in use.")
    if (model := facts.model) is not None:
        engine.add_metric(
            [],
            {
                "engine": model.engine.runner,
                "model": model.name,
                "version": model.version,
                "flavour": model.engine.flavour,
            },
        )
    yield engine
    yield InfoMetricFamily(PREFIX + "build", "This version of Scanlight.", {"version": version("scanlight")})


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
