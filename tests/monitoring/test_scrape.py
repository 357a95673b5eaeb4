"""The metrics over a journal of years."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from sample_facts import ready
from served import Served, died

from appliance.facts import Board
from appliance.journal import JournalReader
from appliance.web.app import create_metrics_app
from tools.bench.long_journal import make_long_journal

SERIES = 100_000


@pytest.mark.slow
def test_the_first_scrape_after_a_start_is_soon_there_over_a_hundred_thousand_series(tmp_path: Path) -> None:
    """What `scanlight bench metrics` times in milliseconds; to read every event takes seconds."""
    journal = tmp_path / "journal.db"
    make_long_journal(journal, SERIES)
    assert sum(one.value for one in JournalReader(journal).totals() if one.name == "series") == SERIES
    server = Served(create_metrics_app(Board(ready()), journal, died))
    server.start()
    began = time.perf_counter()
    text = httpx.get(server.url + "metrics", timeout=60).text
    seconds = time.perf_counter() - began
    server.stop()
    assert 'scanlight_series_total{outcome="failed",reason="unreadable"} 1000.0' in text
    assert seconds < 1
