"""The access token at the door: the link that a kiosk is opened with, its cookie, and who has neither.

The link carries the token in its fragment, which no browser sends: so no server or proxy on the way writes it
down. The page at `/enter` posts it to `/api/enter` and gets a cookie for it.
"""

from __future__ import annotations

import json
import logging
import math

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance import logs
from appliance.access_token import AccessToken
from appliance.web.assets import asset
from appliance.web.throttle import Throttle

COOKIE = "scanlight"
YEAR_S = 365 * 86400
PROBES = ("/healthz", "/readyz")

_KEYLESS = "Open this page with the link that scanlight link prints, or send the access token."
_WRONG = "This is not the access token of this appliance: it may be an old one."
_SLOW = "There were wrong access tokens: wait, and try again."


class Entrance:
    """ASGI middleware: everything but `/enter` and the probes needs the token, or its cookie."""

    def __init__(self, app: ASGIApp, token: AccessToken) -> None:
        self._app = app
        self._token = token
        self._throttle = Throttle()
        self._how_to_enter = asset("enter.html", "text/html", 401)
        self._router = Router(
            [
                Route("/enter", asset("enter.html", "text/html")),
                Route("/enter.css", asset("enter.css", "text/css")),
                Route("/enter.js", asset("enter.js", "text/javascript")),
                Route("/api/enter", self._enter, methods=["POST"]),
            ],
            redirect_slashes=False,
            default=self._others,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._router(scope, receive, send)

    async def _enter(self, request: Request) -> Response:
        try:
            given = str(json.loads(await request.body())["token"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return JSONResponse({"error": 'Expected {"token": "..."}.'}, 400)
        refused = self._refused(request, given)
        if refused is not None:
            return refused
        answer = Response(status_code=204)
        self._give_cookie(answer, request)
        return answer

    async def _others(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        has_cookie = self._token.is_cookie(request.cookies.get(COOKIE, ""))
        if has_cookie or request.url.path in PROBES:
            renew = has_cookie and request.url.path == "/"
            await self._app(scope, receive, self._renewing(request, send) if renew else send)
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            refused = self._refused(request, given.strip())
            if refused is None:
                await self._app(scope, receive, send)
                return
        elif request.url.path == "/":
            refused = await self._how_to_enter(request)
        else:
            refused = JSONResponse({"error": _KEYLESS}, 401)
        if refused.status_code == 401:
            refused.headers["WWW-Authenticate"] = "Bearer"
        await refused(scope, receive, send)

    def _refused(self, request: Request, given: str) -> Response | None:
        """Look at a token, unless there were wrong ones just now: then not even a right one is told of."""
        address = request.client.host if request.client else ""
        wait_s = self._throttle.wait_s(address)
        if wait_s > 0:
            return JSONResponse({"error": _SLOW}, 429, {"Retry-After": str(math.ceil(wait_s))})
        if self._token.is_token(given):
            self._throttle.right(address)
            return None
        self._throttle.wrong(address)
        logs.event("wrong_token", logging.WARNING, address=address)
        return JSONResponse({"error": _WRONG}, 401)

    def _give_cookie(self, response: Response, request: Request) -> None:
        response.set_cookie(
            COOKIE,
            self._token.cookie,
            max_age=YEAR_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    def _renewing(self, request: Request, send: Send) -> Send:
        """A kiosk that is looked at every day never runs out of its year."""
        given = Response()
        self._give_cookie(given, request)

        async def renewing(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["set-cookie"] = given.headers["set-cookie"]
            await send(message)

        return renewing
