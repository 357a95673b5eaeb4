"""Who may come in, and who acts."""

from __future__ import annotations

from starlette.requests import Request


def person(request: Request, named: str) -> str:
    """Who asks for an action: the user of the reverse proxy where one is configured, else as `named`."""
    user: str | None = getattr(request.state, "user", None)
    return named if user is None else user
