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
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from appliance.control import Command, Retry
from appliance.facts import Board
from appliance.faults import reach
from appliance.journal import JournalReader
from appliance.light import FAULTS
from appliance.metrics import registry
from appliance.reasons import RULES
from appliance.web.access import Access, Door, api_person
from appliance.web.assets import asset
from appliance.web.guard import Guard
from appliance.web.status import Observer, status, why_not_alive, why_not_ready

T = TypeVar("T")

LOOK_S = 0.25
"""How often the light is looked at when nobody asks, so that `since` is right."""

SERIES_LIMIT = 50
SERIES_MAX = 1000

STATIC = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class _Journal:
    """The reader, opened in the thread that first uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: JournalReader | None = None

    def __call__(self, query: Callable[[JournalReader], T]) -> T:
        """Raises JournalError or sqlite3.Error."""
        if self._reader is None:
            self._reader = JournalReader(self._path)
        return query(self._reader)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def create_app(
    board: Board,
    journal: Path,
    died: Callable[[BaseException], None],
    *,
    access: Access | None = None,
    command: Callable[[Command], None] | None = None,
    heartbeat_limit_s: float = 10,
) -> Starlette:
    """The page, the API and `/metrics`.

    `board` is where the main loop publishes its facts; without a new publication for `heartbeat_limit_s` the
    loop counts as stalled. `died` is told what ended a task behind the requests. With `access`, only whom it
    lets in is answered. With a `command`, people may also ask for something: that is for the control socket.
    """
    observer = Observer(board, heartbeat_limit_s)
    reader = _Journal(journal)

    async def api_status(request: Request) -> Response:
        return JSONResponse(status(*observer.look()))

    async def api_series(request: Request) -> Response:
        """`limit`: how many, at most 1000; `in_flight=no` and `skipped=no` leave those out."""
        text = request.query_params.get("limit", str(SERIES_LIMIT))
        if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= SERIES_MAX):
            return JSONResponse({"error": f"limit must be a whole number from 1 to {SERIES_MAX}."}, 400)
        with_ = {name: request.query_params.get(name, "yes") for name in ("in_flight", "skipped")}
        for name, value in with_.items():
            if value not in ("yes", "no"):
                return JSONResponse({"error": f"{name} must be yes or no."}, 400)
        return JSONResponse(
            reader(
                lambda journal: _newest(
                    journal,
                    int(text),
                    in_flight=with_["in_flight"] == "yes",
                    skipped=with_["skipped"] == "yes",
                )
            )
        )

    async def healthz(request: Request) -> Response:
        return _probe(why_not_alive(observer.facts()))

    async def readyz(request: Request) -> Response:
        return _probe(why_not_ready(observer.facts()))

    async def api_retry(request: Request) -> Response:
        """`subjects`: the series to read once more, as the journal names them."""
        assert command is not None
        try:
            asked = Retry(tuple(str(one) for one in (await request.json())["subjects"]))
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"error": 'Expected {"subjects": [...]}.'}, 400)
        command(asked)
        return JSONResponse({"series": await asyncio.wrap_future(asked.done)})

    return _application(
        [
            *([Route("/api/retry", api_retry, methods=["POST"])] if command else []),
            *(Route(path, asset(name, media_type)) for path, (name, media_type) in STATIC.items()),
            Route("/api/status", api_status),
            Route("/api/series", api_series),
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
    )


def create_metrics_app(
    board: Board, journal: Path, died: Callable[[BaseException], None], *, heartbeat_limit_s: float = 10
) -> Starlette:
    """`/metrics` alone, for an address that Prometheus can reach while the page stays on loopback."""
    observer = Observer(board, heartbeat_limit_s)
    reader = _Journal(journal)

    return _application(
        [Route("/metrics", _scrape(registry(observer.facts, lambda: reader(JournalReader.totals))))],
        observer,
        reader,
        died,
    )


def _application(
    routes: list[Route],
    observer: Observer,
    reader: _Journal,
    died: Callable[[BaseException], None],
    door: Sequence[Middleware] = (),
) -> Starlette:
    async def look_often() -> None:
        try:
            while True:
                reach("web.looked")
                observer.look()
                await asyncio.sleep(LOOK_S)
        except Exception as error:
            died(error)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(look_often())
        yield
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        reader.close()

    app = Starlette(routes=routes, middleware=[Middleware(Guard), *door], lifespan=lifespan)
    # A redirect would echo the address that was asked for.
    app.router.redirect_slashes = False
    return app


def _newest(journal: JournalReader, limit: int, *, in_flight: bool, skipped: bool) -> list[dict[str, Any]]:
    """In flight first, asked first: a series that ends in between is there twice rather than missing."""
    records = journal.in_flight()[::-1][:limit] if in_flight else []
    if len(records) < limit:
        records += journal.records(limit - len(records), skipped=skipped)
    return [record.as_dict() for record in records]


async def _codes(request: Request) -> Response:
    """What the codes in `reason` and `why` mean."""
    reasons = {reason: rule.sentence for reason, rule in RULES.items()}
    return JSONResponse({"reasons": reasons, "faults": FAULTS})


def _probe(why: list[str]) -> Response:
    return JSONResponse({"ok": not why, "why": why}, 503 if why else 200)


def _scrape(metrics: CollectorRegistry) -> Callable[[Request], Awaitable[Response]]:
    async def scrape(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics), headers={"Content-Type": content_type})

    return scrape
