"""Recording: a finding and all that goes with it, on the disk before the journal says so."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeGuard

from appliance.clock import utc_in, utc_now
from appliance.delivery import results_folder
from appliance.faults import reach
from appliance.findings.identity import repeated_key, result_name
from appliance.findings.objects import ObjectStore, render_heatmap
from appliance.findings.record import SeriesRecord
from appliance.in_flight import InFlight
from appliance.journal import BACKLOG, Event, Journal, KnownFile, SeriesRow
from appliance.known_answers import PROBABILITY_TOLERANCE
from appliance.reading import ModelInUse, Reading, record_of
from appliance.reasons import Outcome, Reason
from appliance.records import Arrival

RETRIED = frozenset(
    (
        Reason.WORKER_CRASHED,
        Reason.WORKER_TIMEOUT,
        Reason.WORKER_MEMORY,
        Reason.ENGINE_ERROR,
        Reason.INTERNAL_ERROR,
        Reason.UNREADABLE,
    )
)
"""Failures that may not happen again."""

LONGEST_DELAY_S = 86400.0

STILL_SUSPECT = "An earlier revision of this series was flagged, so that the study stays suspect."


class Recorder:
    """Called by the main loop alone. What the disk refuses waits in its place."""

    def __init__(self, journal: Journal, objects: ObjectStore, retry_after_s: float) -> None:
        self._journal = journal
        self._objects = objects
        self.retry_after_s = retry_after_s
        self._files: list[KnownFile] = []
        self._counted: Counter[tuple[str, str]] = Counter()

    def count(self, name: str, label: str = "") -> None:
        """Something happened that is only counted; the sum since the last flush is written with the next."""
        self._counted[name, label] += 1

    def note_file(self, arrival: Arrival, kind: str, series_id: int | None = None) -> None:
        """A file needs no more reading; until the next flush a restart would look at it again."""
        self._files.append(
            KnownFile(str(arrival.path), arrival.identity, kind, series_id, arrival.changed_ns)
        )
        self.count("files", kind)

    def note_backlog(self, old: Sequence[Arrival]) -> None:
        """Files from before the installation: from now on no restart takes them for new."""
        if old:
            self._journal.add_files([KnownFile(str(one.path), one.identity, BACKLOG, None) for one in old])
            reach("backlog.noted")

    def flush(self) -> None:
        if self._files or self._counted:
            events = [Event(name, label, value=n) for (name, label), n in self._counted.items()]
            self._journal.add_files(self._files, events)
            self._files.clear()
            self._counted.clear()

    def record(self, one: InFlight, model: ModelInUse) -> SeriesRecord | None:
        """Record the reading of a series as its next revision; None when the same reading is on record.

        Slices that were put back, and those that were read once more and came out differently, make a
        revision too, under a key that is derived from theirs.
        """
        started = time.perf_counter()
        assert one.reading is not None
        record = record_of(one.reading, list(one.slices.values()), model, one.rules)
        assert record.reading_key is not None
        current = self._journal.current(one.row.id)
        if is_current(current, record.reading_key) and not (one.retry and _differ(current, record)):
            self.end_unchanged(one, self._next_try(one.row, record))
            return None
        if current is not None and self._journal.reading(one.row.id, record.reading_key) is not None:
            record = replace(record, reading_key=repeated_key(record.reading_key, current.reading_key or ""))
        if record.outcome is not Outcome.FLAGGED and self._journal.was_flagged(one.row.id):
            record = replace(record, detail=" ".join(filter(None, (record.detail, STILL_SUSPECT))))
        heatmap = self._heatmap(one.reading)
        timings = {**(record.timings_ms or {}), "queue": round(one.queue_ms, 3)}
        timings["record"] = round((time.perf_counter() - started) * 1000, 3)
        record = replace(
            self._revised(one.row, record),
            heatmap=heatmap,
            completed_by=one.life.completed_by,
            last_slice_at=one.last_slice_at,
            complete_at=one.complete_at,
            timings_ms=timings,
        )
        events = [Event("completed", one.life.completed_by)]
        events += [Event("stage_duration", stage, value=ms / 1000) for stage, ms in timings.items()]
        if record.probability is not None:
            events.append(Event("probability", value=record.probability))
        if record.outcome is Outcome.FLAGGED:
            events.append(Event("last_slice_to_flag", value=time.monotonic() - one.life.last_slice))
        self._end(one.row, record, _files_of(one), events, unconfirmed=True)
        return record

    def record_unread(
        self, row: SeriesRow, record: SeriesRecord, files: Sequence[KnownFile], *, deliver: bool = True
    ) -> SeriesRecord | None:
        """Record what ended without being read; None when just this is on record."""
        assert record.reading_key is not None
        if self._journal.reading(row.id, record.reading_key) is not None:
            self._journal.end(row.id, files, [], next_try_at=self._next_try(row, record))
            return None
        record = self._revised(row, record)
        self._end(row, record, files, [], deliver=deliver)
        return record

    def end_unchanged(self, one: InFlight, next_try_at: str | None = None) -> None:
        """The series ends, and the finding on record stands."""
        self._journal.end(one.row.id, _files_of(one), [], next_try_at=next_try_at)

    def _revised(self, row: SeriesRow, record: SeriesRecord) -> SeriesRecord:
        previous = self._journal.current(row.id)
        return replace(
            record,
            revision=(previous.revision or 0) + 1 if previous else 1,
            supersedes=previous.reading_key if previous else None,
            first_seen_at=row.first_seen_at,
            recorded_at=utc_now(),
        )

    def _heatmap(self, reading: Reading) -> str | None:
        if reading.score is None or reading.score.heatmap is None or reading.volume is None:
            return None
        name = self._objects.put(render_heatmap(reading.score.heatmap, reading.volume), ".npz")
        reach("heatmap.stored")
        return name

    def _end(
        self,
        row: SeriesRow,
        record: SeriesRecord,
        files: Sequence[KnownFile],
        events: Sequence[Event],
        *,
        deliver: bool = True,
        unconfirmed: bool = False,
    ) -> None:
        assert record.revision is not None
        stored = self._objects.put((record.to_json() + "\n").encode(), ".json")
        reach("finding.stored")
        name = result_name(row.subject, record.stack, record.revision)
        self._journal.end(
            row.id,
            files,
            [Event("series", record.outcome or "", record.reason or ""), *events],
            finding=(record, stored, [(results_folder.DESTINATION, name)] if deliver else []),
            next_try_at=self._next_try(row, record),
            unconfirmed=unconfirmed,
        )
        reach("finding.recorded")

    def _next_try(self, row: SeriesRow, record: SeriesRecord) -> str | None:
        """When a failure is tried again: each time later, up to a day."""
        if record.reason not in RETRIED:
            return None
        parked = self._journal.series(row.subject, row.study_uid).parked
        return utc_in(min(self.retry_after_s * 2 ** min(parked, 20), LONGEST_DELAY_S))


def is_current(current: SeriesRecord | None, reading_key: str) -> TypeGuard[SeriesRecord]:
    """Whether the current finding is the reading with this key, for the first time or once more."""
    return current is not None and current.reading_key in (
        reading_key,
        repeated_key(reading_key, current.supersedes or ""),
    )


def _differ(known: SeriesRecord, record: SeriesRecord) -> bool:
    """Whether two readings of the same slices by the same model say something else."""
    if (known.outcome, known.reason) != (record.outcome, record.reason):
        return True
    return abs((known.probability or 0.0) - (record.probability or 0.0)) > PROBABILITY_TOLERANCE


def _files_of(one: InFlight) -> list[KnownFile]:
    return [
        KnownFile(str(path), arrival.identity, "slice", one.row.id)
        for path, (arrival, _) in one.paths.items()
    ]
