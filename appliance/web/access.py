"""Who may come in, and who acts."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.access_token import AccessToken, read_token
from appliance.addresses import split
from appliance.config import Config
from appliance.web.asked import LONGEST_NAME
from appliance.web.entrance import Entrance
from appliance.web.origin import READING, host_is_ours, why_not_ours


@dataclass(frozen=True, slots=True)
class Access:
    """Whom the configuration lets in; by default whoever is on this machine."""

    hosts: frozenset[str] = frozenset()
    token: AccessToken | None = None
    user_header: str | None = None

    @classmethod
    def of(cls, config: Config) -> Access:
        """Raises TokenError."""
        file = config.access_token_file
        return cls(
            hosts=frozenset((*config.hosts, split(config.listen)[0].lower())),
            token=None if file is None else AccessToken(read_token(file)),
            user_header=None if config.proxy is None else config.proxy.user_header,
        )


class Door:
    """ASGI middleware: every request is for this machine by name, what changes something comes from its own
    page and from somebody, and where there is an access token it is carried."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._inside = app if access.token is None else Entrance(app, access.token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refused(Request(scope))
        await (refused or self._inside)(scope, receive, send)

    def _refused(self, request: Request) -> Response | None:
        reached = request.scope.get("server")
        if not host_is_ours(request.headers.get("host"), self._access.hosts, reached[0] if reached else None):
            return _refusal("This machine is not known by this name: add the name to hosts.", 421)
        why = why_not_ours(request.method, request.url.scheme, request.headers)
        if why is not None:
            return _refusal(why, 403)
        if self._access.user_header is not None:
            user = _user(request, self._access.user_header)
            if user is None and request.method not in READING:
                return _refusal("The proxy in front has not told who asks for this.", 403)
            request.state.user = user
        return None


def person(request: Request, named: str) -> str:
    """Who asks for an action: the user of the reverse proxy where one is configured, else as `named`."""
    user: str | None = getattr(request.state, "user", None)
    return named if user is None else user


async def api_person(request: Request) -> Response:
    """The name that the page need not ask for, where a proxy gives one."""
    return JSONResponse({"name": person(request, "") or None})


def _user(request: Request, header: str) -> str | None:
    """What the proxy wrote; nobody where it was written twice, once perhaps by somebody else."""
    values = [value.strip() for value in request.headers.getlist(header)]
    if len(values) != 1 or not values[0]:
        return None
    # Headers are bytes, and names UTF-8. Who has a long one acts under its beginning.
    return values[0].encode("latin-1").decode("utf-8", "replace")[:LONGEST_NAME].strip()


def _refusal(sentence: str, status: int) -> Response:
    return JSONResponse({"error": sentence}, status)
