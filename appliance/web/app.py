"""The web application: the page, the API and the metrics.

Handlers run on the event loop of the web thread, and so do their queries: the journal's read-only connection
is opened there and used from no other thread. A query takes milliseconds and WAL readers wait for nobody, so
a pool of threads would only add a lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from appliance.acceptance import WHY_NOT
from appliance.control import Command
from appliance.facts import Board
from appliance.faults import reach
from appliance.journal import JournalReader
from appliance.light import FAULTS
from appliance.metrics import registry
from appliance.reasons import RULES
from appliance.web import actions, events, images, series, studies
from appliance.web.access import Access, Door, api_person
from appliance.web.asked import Refusal, refusal
from appliance.web.assets import asset, page
from appliance.web.events import Watchers
from appliance.web.guard import Guard
from appliance.web.journal import LazyJournal
from appliance.web.server import ENDING
from appliance.web.status import NOTICES, Observer, status, why_not_alive, why_not_ready

LOOK_S = 0.25
"""How often the light is looked at when nobody asks, so that `since` is right."""


def create_app(
    board: Board,
    journal: Path,
    died: Callable[[BaseException], None],
    *,
    access: Access | None = None,
    command: Callable[[Command], None] | None = None,
    private: bool = False,
    previews: Path | None = None,
    heartbeat_limit_s: float = 10,
) -> Starlette:
    """The page, the API and `/metrics`.

    `board` is where the main loop publishes its facts; without a new publication for `heartbeat_limit_s` the
    loop counts as stalled. `died` is told what ended a task behind the requests. With `access`, only whom it
    lets in is answered. With a `command`, people may also ask for something; it hands that to the main loop,
    and raises queue.Full where that takes no more. What names files is `private`: for the control socket.
    `previews` is the folder with the images of readings.
    """
    observer = Observer(board, heartbeat_limit_s)
    reader = LazyJournal(journal)

    def status_of(station: str | None) -> dict[str, Any]:
        if station is None:
            return status(*observer.look(), private=private)
        attention = reader(lambda journal: journal.attention(station))
        unknown = reader(lambda journal: journal.is_unknown(station))
        return status(*observer.look_at(station, attention, unknown=unknown), private=private)

    async def api_status(request: Request) -> Response:
        """`station`: of one scanner alone."""
        return JSONResponse(status_of(request.query_params.get("station")))

    async def healthz(request: Request) -> Response:
        return _probe(why_not_alive(observer.facts()))

    async def readyz(request: Request) -> Response:
        return _probe(why_not_ready(observer.facts()))

    watchers = Watchers(status_of)
    return _application(
        [
            *(Route(path, asset(name, media_type)) for path, (name, media_type) in page().items()),
            Route("/api/status", api_status),
            *events.routes(watchers),
            *series.routes(reader, private=private),
            *studies.routes(reader),
            *(images.routes(reader, previews) if previews else []),
            *(actions.routes(reader, command) if command else []),
            *(actions.private_routes(command) if command and private else []),
            Route("/api/codes", _codes),
            Route("/api/person", api_person),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", _scrape(registry(observer.facts, lambda: reader(JournalReader.totals)))),
        ],
        observer,
        reader,
        died,
        [Middleware(Door, access)] if access else [],
        watchers,
    )


def create_metrics_app(
    board: Board, journal: Path, died: Callable[[BaseException], None], *, heartbeat_limit_s: float = 10
) -> Starlette:
    """`/metrics` alone, for an address that Prometheus can reach while the page stays on loopback."""
    observer = Observer(board, heartbeat_limit_s)
    reader = LazyJournal(journal)

    return _application(
        [Route("/metrics", _scrape(registry(observer.facts, lambda: reader(JournalReader.totals))))],
        observer,
        reader,
        died,
    )


def _application(
    routes: list[Route],
    observer: Observer,
    reader: LazyJournal,
    died: Callable[[BaseException], None],
    door: Sequence[Middleware] = (),
    watchers: Watchers | None = None,
) -> Starlette:
    async def look_often() -> None:
        try:
            while True:
                reach("web.looked")
                observer.look()
                if watchers is not None:
                    watchers.looked()
                await asyncio.sleep(LOOK_S)
        except Exception as error:
            died(error)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        looking = asyncio.create_task(look_often())
        # What the server calls before it waits for open requests to end.
        yield {} if watchers is None else {ENDING: watchers.end}
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        reader.close()

    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard), *door],
        exception_handlers={Refusal: refusal, HTTPException: _no_such},
        lifespan=lifespan,
    )
    # A redirect would echo the address that was asked for.
    app.router.redirect_slashes = False
    return app


async def _codes(request: Request) -> Response:
    """What the codes in `reason`, `why`, `notices` and `not_accepted` mean."""
    reasons = {reason: rule.sentence for reason, rule in RULES.items()}
    remedies = {reason: rule.remedy for reason, rule in RULES.items() if rule.remedy}
    return JSONResponse(
        {
            "reasons": reasons,
            "remedies": remedies,
            "faults": FAULTS,
            "notices": NOTICES,
            "not_accepted": WHY_NOT,
        }
    )


async def _no_such(request: Request, error: Exception) -> Response:
    """An address or a method that there is not."""
    assert isinstance(error, HTTPException)
    what = {404: "There is nothing at this address.", 405: "This address takes no such request."}
    return JSONResponse(
        {"error": what.get(error.status_code, error.detail)}, error.status_code, error.headers
    )


def _probe(why: list[str]) -> Response:
    return JSONResponse({"ok": not why, "why": why}, 503 if why else 200)


def _scrape(metrics: CollectorRegistry) -> Callable[[Request], Awaitable[Response]]:
    async def scrape(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics), headers={"Content-Type": content_type})

    return scrape
