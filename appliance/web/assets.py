"""The files of the page, as they are in the package."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import PurePath

from starlette.requests import Request
from starlette.responses import Response

_MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_STATIC = files("appliance.web") / "static"


def page() -> dict[str, tuple[str, str]]:
    """The files of the page by address, each with its media type; those of the door are not among them."""
    names = sorted(file.name for file in _STATIC.iterdir() if not file.name.startswith("enter."))
    return {
        "/" if name == "index.html" else f"/{name}": (name, _MEDIA_TYPES[PurePath(name).suffix])
        for name in names
    }


def asset(name: str, media_type: str, status: int = 200) -> Callable[[Request], Awaitable[Response]]:
    """Answers with a file of `static/`."""
    content = (_STATIC / name).read_bytes()

    async def serve(request: Request) -> Response:
        return Response(content, status, media_type=media_type)

    return serve
