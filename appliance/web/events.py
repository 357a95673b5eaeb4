"""Server-sent events: the status to everybody who watches, whenever it changes and every second besides.

Nothing is queued for anybody: who is slow gets the newest when they can take it, and who takes nothing for
long is let go.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from appliance.web.asked import Refusal

MOST: Final = 64
BEAT_S: Final = 0.75
SLOW_S: Final = 10.0

_FULL: Final = f"{MOST} pages watch already: close some, or ask /api/status."


class Watchers:
    """Those who watch. `body` makes the status of one scanner, or of all, once for each look."""

    def __init__(self, body: Callable[[str | None], dict[str, Any]]) -> None:
        self._body = body
        self._made: dict[str | None, tuple[object, str]] = {}
        self._looked = asyncio.Event()
        self._ended = False
        self._count = 0

    def looked(self) -> None:
        """The facts may be others from now on."""
        self._made.clear()
        self._looked.set()
        self._looked = asyncio.Event()

    def end(self) -> None:
        """The server stops: nobody waits any longer."""
        self._ended = True
        self.looked()

    async def watch(self, request: Request) -> Response:
        """`station`: of one scanner alone."""
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self._count >= MOST:
            raise Refusal(503, _FULL)
        self._count += 1
        return _Stream(self._events(request.query_params.get("station")), self._leave)

    def _leave(self) -> None:
        self._count -= 1

    async def _events(self, station: str | None) -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        told: object = None
        told_at = 0.0
        while not self._ended:
            looked = self._looked
            content, text = self._status(station)
            if content != told or time.monotonic() - told_at >= BEAT_S:
                told, told_at = content, time.monotonic()
                yield f"event: status\ndata: {text}\n\n"
            await looked.wait()

    def _status(self, station: str | None) -> tuple[object, str]:
        """What of it tells of a change, and the whole as it is sent."""
        if station not in self._made:
            body = self._body(station)
            content = {key: value for key, value in body.items() if key != "facts"}
            self._made[station] = content, json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return self._made[station]


class _Stream(StreamingResponse):
    def __init__(self, content: AsyncIterator[str], left: Callable[[], None]) -> None:
        # Otherwise nginx would collect events before it passes them on.
        super().__init__(content, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SLOW_S):
                await send(message)

        with suppress(TimeoutError):
            await super().stream_response(send_in_time)


def routes(watchers: Watchers) -> list[Route]:
    return [Route("/events", watchers.watch)]
