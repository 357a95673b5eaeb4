"""What every response carries, and what an error may say."""

from __future__ import annotations

import sqlite3

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance import logs
from appliance.journal import JournalError

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""The page loads nothing from elsewhere, nobody may frame it or keep a copy of it: it names series."""


class Guard:
    """ASGI middleware: security headers on every response, and errors without their message.

    What an exception says may quote a record, so a client sees a fixed sentence and the log its type and
    place. Nothing reaches the server's own error log, which would print the message and the traceback.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            await self._app(scope, receive, send_guarded)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except Exception as error:
            logs.crash("request_failed", error)
            if not started:
                await _answer(error)(scope, receive, send_guarded)


def _answer(error: Exception) -> Response:
    if isinstance(error, (JournalError, sqlite3.Error)):
        return JSONResponse({"error": "The journal cannot be read: see the log of the service."}, 503)
    return JSONResponse({"error": "An error inside Scanlight: see the log of the service."}, 500)
