"""What the tests of the page put into the journal and on the board."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from appliance.facts import Board
from appliance.findings.record import SeriesRecord
from appliance.journal import Event, Journal
from appliance.reasons import Outcome, Reason

PATIENT_FILE = "DOE^JANE/19570312.dcm"
"""Stands in the detail of a record, which the page must not show."""

ENDED = (
    ("1.2.826.0.1.111111", Outcome.SKIPPED, Reason.LOCALIZER, None),
    ("1.2.826.0.1.222222", Outcome.FLAGGED, None, 0.873),
    ("1.2.826.0.1.333333", Outcome.NOT_FLAGGED, None, 0.4999),
    ("1.2.826.0.1.444444", Outcome.NOT_ANALYSED, Reason.MISSING_SLICE, None),
    ("1.2.826.0.1.555555", Outcome.FAILED, Reason.ENGINE_ERROR, None),
)
IN_FLIGHT = ("1.2.826.0.1.777777", "1.2.826.0.1.888888")


def record_end(journal: Journal, uid: str, outcome: Outcome, reason: Reason | None, p: float | None) -> None:
    """A series ends as the daemon would have it."""
    study = uid.rpartition(".")[0]
    record = SeriesRecord(
        series_uid=uid,
        study_uid=study,
        outcome=outcome,
        reason=reason,
        detail=f"{PATIENT_FILE}: something",
        revision=1,
        reading_key=f"key of {uid}",
        probability=p,
        operating_point=0.5,
        last_slice_at="2026-03-01T08:00:00.000Z",
        recorded_at="2026-03-01T08:00:03.400Z",
    )
    event = Event("series", outcome, reason or "")
    row = journal.series(uid, study)
    journal.end(row.id, [], [event], finding=(record, "object", [("results_folder", uid)]))


class LiveBoard(Board):
    """A board as a main loop that moves keeps it."""

    def publish(self, **changes: object) -> None:
        self.facts = replace(self.facts, heartbeat=time.monotonic(), **changes)


@contextmanager
def moving(board: LiveBoard) -> Iterator[None]:
    """The main loop moves."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.3):
            board.publish()

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()
