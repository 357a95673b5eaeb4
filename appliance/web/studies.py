"""What the API says of studies. No file name, no full UID and no scanner's name is in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from appliance.findings.record import SeriesRecord
from appliance.imaging.kernels import kernel_class
from appliance.journal import JournalReader, Mark, StudySeriesRow
from appliance.reasons import Outcome
from appliance.studies import OPEN, UID_END, Study, earlier_flag, studies, time_to_flag_s
from appliance.web.asked import LARGEST, Refusal, moment, number_in_path, some_of, whole, yes_or_no
from appliance.web.journal import LazyJournal

LIMIT: Final = 50
MOST: Final = 200
STUDIES_AT_ONCE: Final = 100
FINDINGS_AT_ONCE: Final = 2000
"""So many are looked at before other requests have their turn."""

NO_SERIES: Final = "a file that belongs to no series"
NO_SUCH_STUDY: Final = "There is no study with this number."

_DICOM_UIDS: Final = "1.2.840.10008."
"""The root of what the standard defines, such as transfer syntaxes; others may tell of the patient."""


def routes(journal: LazyJournal) -> list[Route]:
    async def newest(request: Request) -> Response:
        """Newest first. `limit`: how many; `before`: only those before the one with this `finding`;
        `outcome`, `open`, `skipped`, `from`, `to` and `station` leave others out."""
        query = request.query_params
        limit = whole(query, "limit", LIMIT, 1, MOST)
        before = whole(query, "before", LARGEST, 1, LARGEST)
        wanted = Wanted.of(query)
        found: list[Study] = []
        async for batch in _candidates(journal, before, wanted):
            of = studies(journal(lambda reader, batch=batch: reader.studies(batch)))  # type: ignore[misc]
            found += [of[number] for number in batch if number in of and wanted.holds(of[number])]
            if len(found) >= limit:
                break
            await asyncio.sleep(0)
        return JSONResponse([_summary(one, _records(journal, [one])) for one in found[:limit]])

    async def one(request: Request) -> Response:
        study = study_of(journal, number_in_path(request, "study"))
        records = _records(journal, [study])
        marks = journal(lambda reader: reader.marks(study.number))
        shown = study.shown(records)
        return JSONResponse(
            _summary(study, records)
            | {
                "series": [_series(row, records.get(row.id)) for row in study.series],
                "best": None if shown is None else shown.id,
                "marks": [{"at": mark.at, "action": mark.action, "name": mark.name} for mark in marks],
            }
        )

    return [Route("/api/studies", newest), Route("/api/studies/{study}", one)]


def study_of(journal: LazyJournal, number: int) -> Study:
    """Raises Refusal where there is no such study."""
    found = studies(journal(lambda reader: reader.studies([number]))).get(number)
    if found is None:
        raise Refusal(404, NO_SUCH_STUDY)
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which studies somebody asks for; None and an empty set stand for all. `until` itself is left out."""

    outcomes: frozenset[str]
    only_open: bool
    skipped: bool
    since: str | None
    until: str | None
    station: str | None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """Raises Refusal."""
        return cls(
            some_of(query, "outcome", list(Outcome)),
            yes_or_no(query, "open", False),
            yes_or_no(query, "skipped", True),
            moment(query, "from"),
            moment(query, "to"),
            query.get("station"),
        )

    def holds(self, study: Study) -> bool:
        return (
            (not self.outcomes or bool(study.kinds & self.outcomes))
            and (not self.only_open or study.state in OPEN)
            and (self.skipped or study.outcome is not Outcome.SKIPPED)
            and (self.since is None or study.at >= self.since)
            and (self.until is None or study.at < self.until)
            and (self.station is None or any(one.station in (self.station, "") for one in study.series))
        )


async def _candidates(journal: LazyJournal, before: int, wanted: Wanted) -> AsyncIterator[list[int]]:
    """Numbers of studies that may be wanted, newest first, in batches."""
    if wanted.only_open:
        numbers = journal(lambda reader: reader.open_studies(before))
        for start in range(0, len(numbers), STUDIES_AT_ONCE):
            yield numbers[start : start + STUDIES_AT_ONCE]
        return
    outcomes = wanted.outcomes or (() if wanted.skipped else set(Outcome) - {Outcome.SKIPPED})

    def between(reader: JournalReader, above: int, upto: int) -> list[int]:
        return reader.studies_between(
            above,
            upto,
            outcomes=sorted(outcomes),
            since=wanted.since,
            until=wanted.until,
            station=wanted.station,
        )

    upto = min(before - 1, journal(lambda reader: reader.newest_finding()))
    step = STUDIES_AT_ONCE
    while upto > 0:
        above = max(0, upto - step)
        batch = journal(partial(between, above=above, upto=upto))
        yield batch
        # What is rare is looked for in longer steps.
        upto, step = above, STUDIES_AT_ONCE if batch else FINDINGS_AT_ONCE


def _records(journal: LazyJournal, of: list[Study]) -> dict[int, SeriesRecord]:
    ids = [one.id for study in of for one in study.series]
    return journal(lambda reader: reader.current_records(ids))


def _summary(study: Study, records: Mapping[int, SeriesRecord]) -> dict[str, Any]:
    """`finding` is the id of the newest: where the next page begins, and up to where an acknowledgement goes
    that was given on seeing this."""
    shown, newest = study.shown(records), study.newest
    current = shown.findings[-1] if shown else None
    record = records.get(shown.id) if shown else None
    acknowledged = None if study.state == "suspect" else study.marked(Mark.ACKNOWLEDGED)
    return {
        "study": study.number,
        "finding": newest.id if newest else None,
        "label": study.label,
        "file": all(one.is_file for one in study.series),
        "at": study.at,
        "state": study.state,
        "outcome": study.outcome,
        "reason": current.reason if current else None,
        "probability": record.probability if record else None,
        "operating_point": record.operating_point if record else None,
        "revision": current.revision if current else None,
        "flagged_ever": study.flagged_ever,
        "earlier_flag": study.flagged_ever and study.outcome is not Outcome.FLAGGED,
        "attention": study.state in OPEN,
        "unseen": [{"outcome": one.outcome, "reason": one.reason} for one in study.unseen],
        "acknowledged": _mark(acknowledged),
        "seen": _mark(study.marked(Mark.SEEN)),
        "series": len(study.series),
        "in_progress": study.in_flight,
        "time_to_flag_s": time_to_flag_s(record),
    }


def _series(row: StudySeriesRow, record: SeriesRecord | None) -> dict[str, Any]:
    current = row.findings[-1] if row.findings else None
    found = record or SeriesRecord()
    return {
        "id": row.id,
        "number": row.number,
        "uid_end": None if row.is_file else row.subject[-UID_END:],
        "what": NO_SERIES if row.is_file else "series",
        "stack": row.stack,
        "kernel": None if row.is_file else row.kernel or kernel_class(None),
        "in_progress": not row.ended,
        "provisional": row.provisional,
        "outcome": current.outcome if current else None,
        "reason": current.reason if current else None,
        "earlier_flag": earlier_flag(row),
        "attention": any(one.attention for one in row.findings),
        "revision": current.revision if current else None,
        "probability": found.probability,
        "operating_point": found.operating_point,
        "slices": found.slices,
        "spacing_mm": found.spacing_mm,
        "size": found.size,
        "orientation": found.orientation,
        "transfer_syntax": _of_the_standard(found.transfer_syntax),
        "hu_min": found.hu_min,
        "hu_max": found.hu_max,
        "hu_mean": found.hu_mean,
        "model": found.model,
        "engine": found.engine,
        "notice": found.notice,
        "completed_by": found.completed_by,
        "first_seen_at": row.first_seen_at,
        "last_slice_at": found.last_slice_at,
        "complete_at": found.complete_at,
        "recorded_at": found.recorded_at,
        "confirmed_at": found.confirmed_at,
        "timings_ms": found.timings_ms,
        "time_to_flag_s": time_to_flag_s(record),
        "revisions": [
            {
                "revision": one.revision,
                "outcome": one.outcome,
                "reason": one.reason,
                "probability": one.probability,
                "recorded_at": one.recorded_at,
                "attention": one.attention,
                "acknowledged": _mark(one.marked[1:] if one.marked else None),
            }
            for one in row.findings
        ],
    }


def _mark(mark: tuple[str, str] | None) -> dict[str, str] | None:
    return None if mark is None else {"name": mark[1], "at": mark[0]}


def _of_the_standard(uid: str | None) -> str | None:
    return uid if uid and uid.startswith(_DICOM_UIDS) else None
