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
        self._way_in = {
            ("GET", "/enter"): asset("enter.html", "text/html"),
            ("GET", "/enter.css"): asset("enter.css", "text/css"),
            ("GET", "/enter.js"): asset("enter.js", "text/javascript"),
            ("POST", "/api/enter"): self._enter,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        way_in = self._way_in.get((request.method, request.url.path))
        if way_in is not None:
            answer: ASGIApp = await way_in(request)
        elif self._token.is_cookie(request.cookies.get(COOKIE, "")):
            await self._app(scope, receive, self._renewing(request, send))
            return
        elif request.url.path in PROBES:
            answer = self._app
        else:
            answer = await self._refused(request) or self._app
        await answer(scope, receive, send)

    async def _enter(self, request: Request) -> Response:
        try:
            given = str(json.loads(await request.body())["token"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return JSONResponse({"error": 'Expected {"token": "..."}.'}, 400)
        refused = self._looked_at(request, given)
        if refused is not None:
            return refused
        answer = Response(status_code=204)
        self._give_cookie(answer, request)
        return answer

    async def _refused(self, request: Request) -> Response | None:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            refused = self._looked_at(request, given.strip())
        elif request.url.path == "/":
            refused = await self._how_to_enter(request)
        else:
            refused = JSONResponse({"error": _KEYLESS}, 401)
        if refused is not None and refused.status_code == 401:
            refused.headers["WWW-Authenticate"] = "Bearer"
        return refused

    def _looked_at(self, request: Request, given: str) -> Response | None:
        """What a token is answered, None for the right one; after wrong ones not even that is looked at."""
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
        """Whenever the page is opened its year begins anew."""
        if request.url.path != "/":
            return send
        given = Response()
        self._give_cookie(given, request)

        async def renewing(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["set-cookie"] = given.headers["set-cookie"]
            await send(message)

        return renewing
