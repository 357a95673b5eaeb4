"""What lay in the export folder before Scanlight was installed: it is never read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from appliance.records import Arrival


@dataclass(frozen=True, slots=True)
class Installation:
    """When this installation first started, and how far back files are its own; nanoseconds since 1970."""

    at_ns: float
    backlog_ns: float

    @classmethod
    def of(cls, first_start: datetime, backlog_h: float) -> Installation:
        return cls(first_start.timestamp() * 1e9, backlog_h * 3600e9)

    def came_after(self, arrival: Arrival) -> bool:
        """Whether a file is young, or an old one that was put into the folder since: its inode changed."""
        return arrival.identity.mtime_ns >= self.at_ns - self.backlog_ns or arrival.changed_ns >= self.at_ns
