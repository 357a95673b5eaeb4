"""What people ask for: commands on their way to the main loop, and what came of them."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from appliance.control import Command, MarkFiles, MarkStudy, Retry
from appliance.journal import Mark, StudySeriesRow
from appliance.reasons import Reason
from appliance.web.access import person
from appliance.web.asked import LARGEST, Refusal, body, number_in_path, printable_name
from appliance.web.journal import LazyJournal
from appliance.web.studies import study_of

ANSWER_S: Final = 10.0

_MARKS: Final = {
    "acknowledge": Mark.ACKNOWLEDGED,
    "take-back": Mark.TAKEN_BACK,
    "seen": Mark.SEEN,
    "unseen": Mark.UNSEEN,
}

_NOTHING_TO_DO: Final = {
    Mark.ACKNOWLEDGED: "No flag of this study waits for somebody.",
    Mark.TAKEN_BACK: "Nobody has acknowledged this study, or it was taken back.",
    Mark.SEEN: "Nothing of this study waits to be seen.",
    Mark.UNSEEN: "Nobody has marked this study as seen, or it was taken back.",
}

_BUSY: Final = "The daemon has not done it yet, and does it when it can: see the light, its disk may be full."
_FULL: Final = "The daemon has too much to do: ask for it again later."


def routes(journal: LazyJournal, command: Callable[[Command], None]) -> list[Route]:
    """`command` hands a command to the main loop, and raises queue.Full where it takes no more."""

    def marks(action: Mark) -> Callable[[Request], Awaitable[Response]]:
        async def mark(request: Request) -> Response:
            """`name`: who; `upto`: the newest finding that they have seen, by default all that there are."""
            asked = await body(request)
            study = study_of(journal, number_in_path(request, "study")).number
            named = MarkStudy(study, action, _name(request, asked), _upto(asked))
            changed = await _done(command, named)
            if not changed:
                raise Refusal(409, _NOTHING_TO_DO[action])
            return JSONResponse({"findings": changed})

        return mark

    async def retry(request: Request) -> Response:
        """`name`: who; `series`: which of the study's, by their ids, by default all that have ended."""
        asked = await body(request)
        name = _name(request, asked)
        study = study_of(journal, number_in_path(request, "study"))
        known = {one.id for one in study.series}
        ids = asked.get("series", sorted(known))
        if not (isinstance(ids, list) and all(type(one) is int for one in ids) and set(ids) <= known):
            raise Refusal(400, "series must be a list with ids of series of this study.")
        subjects = tuple(
            dict.fromkeys(one.subject for one in study.series if one.id in ids and _may_be_read(one))
        )
        read_again = await _done(command, Retry(subjects, name)) if subjects else 0
        if not read_again:
            raise Refusal(409, "Nothing of it is to be read again: it is being read, or is left alone.")
        return JSONResponse({"series": read_again})

    async def files_seen(request: Request) -> Response:
        """`name`: who; `upto`: the newest finding that they have seen, by default all that there are."""
        asked = await body(request)
        changed = await _done(command, MarkFiles(_name(request, asked), _upto(asked)))
        if not changed:
            raise Refusal(409, "No file that belongs to no series waits to be seen.")
        return JSONResponse({"findings": changed})

    return [
        Route("/api/files/seen", files_seen, methods=["POST"]),
        *(
            Route(f"/api/studies/{{study}}/{path}", marks(action), methods=["POST"])
            for path, action in _MARKS.items()
        ),
        Route("/api/studies/{study}/retry", retry, methods=["POST"]),
    ]


def private_routes(command: Callable[[Command], None]) -> list[Route]:
    """What the command line alone may ask for, since it names series and files."""

    async def retry(request: Request) -> Response:
        """`name`: who; `subjects`: the series to read once more, as the journal names them."""
        asked = await body(request)
        subjects = asked.get("subjects")
        if not isinstance(subjects, list):
            raise Refusal(400, 'Expected {"subjects": [...], "name": "..."}.')
        named = Retry(tuple(str(one) for one in subjects), printable_name(str(asked.get("name", ""))))
        return JSONResponse({"series": await _done(command, named)})

    return [Route("/api/retry", retry, methods=["POST"])]


async def _done(command: Callable[[Command], None], asked: Command) -> int:
    """What the main loop says, once it has done it. Raises Refusal."""
    try:
        command(asked)
    except queue.Full:
        raise Refusal(503, _FULL) from None
    try:
        # It is on its way: who no longer waits for it does not undo it.
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(asked.done)), ANSWER_S)
    except TimeoutError:
        raise Refusal(503, _BUSY) from None


def _may_be_read(series: StudySeriesRow) -> bool:
    """What ended is read again; what was there before the installation never is."""
    left_alone = bool(series.findings) and series.findings[-1].reason == Reason.BEFORE_INSTALLATION
    return series.ended and not left_alone


def _name(request: Request, asked: dict[str, Any]) -> str:
    named = asked.get("name")
    return printable_name(person(request, named if isinstance(named, str) else ""))


def _upto(asked: dict[str, Any]) -> int | None:
    upto = asked.get("upto")
    if upto is None or (type(upto) is int and 0 <= upto <= LARGEST):
        return upto
    raise Refusal(400, "upto must be the number of a finding.")
