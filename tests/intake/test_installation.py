"""What was in the export folder before the installation."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.intake.installation import Installation
from appliance.records import Arrival, FileIdentity

FIRST_START = datetime(2026, 1, 10, 12, tzinfo=UTC)
HOUR_NS = int(3600e9)
START_NS = int(FIRST_START.timestamp() * 1e9)


@pytest.mark.parametrize(
    ("written_h", "changed_h", "came_after"),
    [
        (-30, -30, False),
        (-20, -20, True),
        (-30, 1, True),
        (1, 1, True),
        (-30, -1, False),
    ],
)
def test_an_old_file_is_one_that_was_old_and_there(written_h: int, changed_h: int, came_after: bool) -> None:
    installation = Installation.of(FIRST_START, backlog_h=24)
    written = FileIdentity(1, START_NS + written_h * HOUR_NS, 1)
    arrival = Arrival(Path("a"), written, START_NS + changed_h * HOUR_NS)
    assert installation.came_after(arrival) is came_after
