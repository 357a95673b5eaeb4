"""A journal as it is after years: many series that ended, with their findings and events."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from appliance.findings.record import SeriesRecord
from appliance.journal import Event, Journal
from appliance.reasons import Outcome, Reason

_AMONG_A_HUNDRED: tuple[tuple[int, Outcome, Reason | None], ...] = (
    (55, Outcome.SKIPPED, Reason.LOCALIZER),
    (38, Outcome.NOT_FLAGGED, None),
    (4, Outcome.FLAGGED, None),
    (2, Outcome.NOT_ANALYSED, Reason.MISSING_SLICE),
    (1, Outcome.FAILED, Reason.UNREADABLE),
)
_ENDS = [(outcome, reason) for times, outcome, reason in _AMONG_A_HUNDRED for _ in range(times)]

AT = "2026-01-01T00:00:00.000Z"
SERIES_A_STUDY = 4
SERIES_UID, STUDY_UID = "SERIES", "STUDY"
"""Stand in a record until it is a series' own."""

_STAGES_S = {"parse": 0.9, "volume": 0.04, "queue": 0.01, "infer": 0.2, "record": 0.004}


def make_long_journal(path: Path, series: int) -> int:
    """Written past the daemon in one transaction, with nothing to look at. Returns the number of events."""
    Journal(path).close()
    kinds = [_record(*end) for end in _ENDS]
    texts = [kind.to_json() for kind in kinds]
    events = [[(AT, one.name, one.label, one.label2, one.value) for one in _events(kind)] for kind in kinds]
    with closing(sqlite3.connect(path)) as db, db:
        for number in range(1, series + 1):
            kind = number % len(_ENDS)
            study = f"1.2.826.0.1.{number // SERIES_A_STUDY}"
            db.execute(
                "INSERT INTO series (subject, study_uid, first_seen_at, ended) VALUES (?, ?, ?, 1)",
                (f"{study}.{number}", study, AT),
            )
            db.execute(
                "INSERT INTO finding (series_id, revision, reading_key, outcome, reason, recorded_at, record)"
                " VALUES (?, 1, ?, ?, ?, ?, ?)",
                (
                    number,
                    f"{number:064x}",
                    kinds[kind].outcome,
                    kinds[kind].reason,
                    AT,
                    texts[kind].replace(SERIES_UID, f"{study}.{number}").replace(STUDY_UID, study),
                ),
            )
            db.executemany(
                "INSERT INTO event (at, name, label, label2, value) VALUES (?, ?, ?, ?, ?)", events[kind]
            )
        db.execute("UPDATE finding SET attention = 0 WHERE attention")
        return int(db.execute("SELECT COUNT(*) FROM event").fetchone()[0])


def _record(outcome: Outcome, reason: Reason | None) -> SeriesRecord:
    return SeriesRecord(
        series_uid=SERIES_UID,
        study_uid=STUDY_UID,
        outcome=outcome,
        reason=reason,
        revision=1,
        reading_key="0" * 64,
        probability={Outcome.FLAGGED: 0.9, Outcome.NOT_FLAGGED: 0.1}.get(outcome),
        timings_ms={stage: seconds * 1000 for stage, seconds in _STAGES_S.items()},
        recorded_at=AT,
    )


def _events(record: SeriesRecord) -> Iterator[Event]:
    yield Event("files", "slice", value=120.0)
    yield Event("completed", "quiet")
    for stage, seconds in _STAGES_S.items():
        yield Event("stage_duration", stage, value=seconds)
    if record.probability is not None:
        yield Event("probability", value=record.probability)
    if record.outcome is Outcome.FLAGGED:
        yield Event("last_slice_to_flag", value=1.6)
    yield Event("series", record.outcome or "", record.reason or "")
    yield Event("deliveries", "results_folder", "delivered")
