"""The records of series as the API gives them: what names a file is for the control socket alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from appliance.findings.record import SeriesRecord
from appliance.journal import JournalReader
from appliance.web.asked import whole, yes_or_no
from appliance.web.journal import LazyJournal

LIMIT: Final = 50
MOST: Final = 1000


def routes(journal: LazyJournal, *, private: bool) -> list[Route]:
    async def series(request: Request) -> Response:
        """`limit`: how many, at most 1000; `in_flight=no` and `skipped=no` leave those out."""
        query = request.query_params
        limit = whole(query, "limit", LIMIT, 1, MOST)
        in_flight, skipped = yes_or_no(query, "in_flight", True), yes_or_no(query, "skipped", True)
        records = journal(lambda reader: _newest(reader, limit, in_flight=in_flight, skipped=skipped))
        return JSONResponse([(one if private else _public(one)).as_dict() for one in records])

    return [Route("/api/series", series)]


def _newest(journal: JournalReader, limit: int, *, in_flight: bool, skipped: bool) -> list[SeriesRecord]:
    """In flight first, asked first: a series that ends in between is there twice rather than missing."""
    records = journal.in_flight()[::-1][:limit] if in_flight else []
    if len(records) < limit:
        records += journal.records(limit - len(records), skipped=skipped)
    return records


def _public(record: SeriesRecord) -> SeriesRecord:
    """Names of files may hold those of patients, and a sentence may quote them."""
    return replace(record, path=None, detail=None)
