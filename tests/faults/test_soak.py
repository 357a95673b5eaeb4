"""Many studies through one process: nothing is lost, nothing grows, and the same series always ends alike."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tools.replay.summary import BARS

pytestmark = pytest.mark.slow

STUDIES = 120

BYTES_A_ROW = {"file": 300, "finding": 2800, "delivery": 350, "series": 500, "event": 100}
"""At most, with indexes and what is free in the pages."""

EVENTS_A_SERIES = 12
"""One each of how it ended, what completed it, its probability, the time to its flag and its delivery, five
of how long its stages took, and a share of the counters that are written once a second."""


@pytest.fixture(scope="module")
def soaked(pytestconfig: pytest.Config) -> dict[str, Any]:
    """What the replay says after so many studies."""
    # Where pytest did not start here, it does not know of the option.
    studies = pytestconfig.getoption("--soak", None) or STUDIES
    words = ["replay", "--json", "--studies", str(studies), "--scanners", "2", "--keep", "30"]
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", *words], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            told, _ = process.communicate(timeout=180 + 3 * studies)
        finally:
            # With its daemon, should it still run.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    found: dict[str, Any] = json.loads(told)
    return found


def test_every_series_is_told_of_once(soaked: dict[str, Any]) -> None:
    assert soaked["told_studies"] == soaked["studies"]
    assert (soaked["conservation_error"], soaked["daemon"]["conservation_error"]) == (0, 0)
    assert sum(soaked["outcomes"].values()) == soaked["series"]
    assert {
        "flagged",
        "not_flagged",
        "skipped: localizer",
        "skipped: derived",
        "skipped: no_lung",
        "not_analysed: damaged_pixels",
    } == soaked["outcomes"].keys()


def test_repeated_studies_end_alike_to_the_last_bit(soaked: dict[str, Any]) -> None:
    assert soaked["repeats"] > 0.8 * soaked["series"]
    assert soaked["differing"] == []


def test_descriptors_threads_and_processes_are_flat(soaked: dict[str, Any]) -> None:
    growth = soaked["daemon"]["growth"]
    for name in ("descriptors", "threads", "processes"):
        assert growth[name]["per_100_studies"] == 0, growth
        assert growth[name]["last"] == growth[name]["first"], growth


def test_memory_is_flat(soaked: dict[str, Any]) -> None:
    """At rest, after warming up: the volume of one series, which the engine had last, may be there or not."""
    growth = soaked["daemon"]["growth"]
    for name in ("memory_kb", "worker_memory_kb"):
        assert growth[name]["in_all"] <= BARS[name], growth


def test_the_size_of_the_journal_is_explained(soaked: dict[str, Any]) -> None:
    """A row for each file, and five for each series with its events."""
    daemon, series = soaked["daemon"], soaked["series"]
    tables = {one["table"]: one for one in daemon["journal"]}
    assert tables["file"]["rows"] == soaked["files"]
    assert tables["series"]["rows"] == series
    assert tables["finding"]["rows"] == tables["delivery"]["rows"] == series + soaked["revised"]
    assert tables["event"]["rows"] <= EVENTS_A_SERIES * series
    for name, most in BYTES_A_ROW.items():
        assert tables[name]["bytes"] <= most * tables[name]["rows"], name
    assert sum(one["bytes"] for one in tables.values()) >= 0.95 * daemon["disk"]["journal"]
