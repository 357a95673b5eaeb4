"""Time for records. Durations and timeouts use the monotonic clock instead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def utc_now() -> str:
    """Now in UTC: ISO 8601, milliseconds."""
    return utc_text(datetime.now(UTC))


def utc_in(seconds: float) -> str:
    """So many seconds from now in UTC."""
    return utc_text(datetime.now(UTC) + timedelta(seconds=seconds))


def utc_text(moment: datetime) -> str:
    """A moment in UTC as it stands in records and in the journal, where it sorts as text."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
