"""What JSON has no number for. Imports the standard library alone."""

from __future__ import annotations

import math


def finite(told: object) -> object:
    """With None for what is infinite or no number, however deep it lies."""
    match told:
        case float():
            return told if math.isfinite(told) else None
        case dict():
            return {key: finite(value) for key, value in told.items()}
        case list() | tuple():
            return [finite(one) for one in told]
    return told
