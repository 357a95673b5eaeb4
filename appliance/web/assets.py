"""The files of the page, as they are in the package."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response


def asset(name: str, media_type: str, status: int = 200) -> Callable[[Request], Awaitable[Response]]:
    """Answers with a file of `static/`."""
    content = files("appliance.web").joinpath("static", name).read_bytes()

    async def serve(request: Request) -> Response:
        return Response(content, status, media_type=media_type)

    return serve
