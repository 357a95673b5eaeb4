"""What a request asks for, checked: the values of its query, the numbers in its path, its body."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from appliance.clock import utc_text

LARGEST = 2**63 - 1
"""SQLite knows no number above."""

LONGEST_NAME = 64


class Refusal(Exception):
    """A request that is not done: one sentence, and its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def refusal(request: Request, error: Exception) -> Response:
    """The answer to a request that raised a Refusal."""
    assert isinstance(error, Refusal)
    return JSONResponse({"error": str(error)}, error.status)


def whole(query: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    """Raises Refusal."""
    text = query.get(name, str(default))
    if text.isascii() and text.isdigit() and len(text) < 20 and lowest <= int(text) <= highest:
        return int(text)
    raise Refusal(400, f"{name} must be a whole number from {lowest} to {highest}.")


def yes_or_no(query: Mapping[str, str], name: str, default: bool) -> bool:
    """Raises Refusal."""
    value = query.get(name, "yes" if default else "no")
    if value not in ("yes", "no"):
        raise Refusal(400, f"{name} must be yes or no.")
    return value == "yes"


def some_of(query: Mapping[str, str], name: str, known: Collection[str]) -> frozenset[str]:
    """Values with commas between them, none where nothing was asked for. Raises Refusal."""
    values = frozenset(query[name].split(",")) if name in query else frozenset[str]()
    if not values <= set(known):
        raise Refusal(400, f"{name} must be one or more of {', '.join(known)}, with commas between.")
    return values


def moment(query: Mapping[str, str], name: str) -> str | None:
    """A time as the journal has it. Raises Refusal."""
    if name not in query:
        return None
    try:
        at = datetime.fromisoformat(query[name])
        return utc_text(at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise Refusal(400, f"{name} must be a time in UTC such as 2026-03-01T08:00:00Z.") from None


def number_in_path(request: Request, name: str) -> int:
    """A number of the path, one that nothing has where it is too large for any."""
    digits = request.path_params[name]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else LARGEST


async def body(request: Request) -> dict[str, Any]:
    """A JSON object. Raises Refusal."""
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refusal(400, "Expected a JSON object.")
    return found


def printable_name(text: str) -> str:
    """Who somebody says to be. Raises Refusal."""
    name = text.strip()
    if not (1 <= len(name) <= LONGEST_NAME and name.isprintable()):
        raise Refusal(400, f"Expected a name of 1 to {LONGEST_NAME} printable characters.")
    return name
