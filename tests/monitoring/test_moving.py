"""Every metric moves when what it tells of happens: a real daemon, real files, real faults."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from harness import Appliance
from prometheus_client.parser import text_string_to_metric_families

from tools.phantom import Chest, Export, make_chest, write_localizer, write_series

pytestmark = pytest.mark.slow

MOVE_ELSEWHERE = {"series_conservation_error", "known_answer_ok", "watch_hints_lost_total"}
"""What takes a defect, wrong answers, or a kernel out of watches."""

STAND_STILL = {"engine_info", "build_info"}
"""Whoever scrapes a daemon that is ready sees these as they stay."""

Samples = dict[str, float]
SmallChest = Callable[[str], list[Path]]


def scraped(appliance: Appliance, *, kinds: tuple[str, ...] = ("counter", "gauge", "histogram")) -> Samples:
    """Every sample of Scanlight's by its name and labels, as PromQL writes them."""
    found = {}
    for family in text_string_to_metric_families(httpx.get(f"{appliance.url}/metrics", timeout=10).text):
        if family.name.startswith("scanlight_") and family.type in kinds:
            for sample in family.samples:
                labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
                found[sample.name.removeprefix("scanlight_") + (f"{{{labels}}}" if labels else "")] = (
                    sample.value
                )
    return found


class Moving:
    """An appliance, and which of its samples were ever seen at another value than at first."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.first = scraped(appliance)
        self.moved: set[str] = set()

    def until(self, sample: str, value: Callable[[float], bool], seconds: float = 30) -> None:
        """Wait for a value of one sample, looking at all of them."""

        def there() -> bool:
            try:
                now = scraped(self.appliance)
            except httpx.TransportError:
                # On a busy machine a connection may be turned away; Prometheus would come again too.
                return False
            self.moved |= {name for name in now if now[name] != self.first.get(name)}
            return value(now[sample])

        self.appliance.wait(f"{sample} moves", there, seconds)


def stop_workers(appliance: Appliance) -> None:
    """What these are given takes too long, until others are in their place; who forks those goes on."""
    assert appliance.process is not None
    for forks in children(appliance.process.pid):
        for worker in children(forks):
            os.kill(worker, signal.SIGSTOP)


def children(process: int) -> list[int]:
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def test_every_metric_moves_and_counters_survive_a_restart(tmp_path: Path, small_chest: SmallChest) -> None:
    chest = Chest(kind="clear", seed=4, slice_mm=5.0, matrix=80)
    missing = write_series(make_chest(chest), tmp_path / "missing", Export())
    del missing[20]
    lamp = tmp_path / "lamp"
    lamp.write_text("#!/bin/sh\ntest ! -e $0.unplugged\n")
    lamp.chmod(0o755)
    appliance = Appliance(
        tmp_path,
        lamp={"command": [str(lamp)]},
        worker_timeout_s=2.0,
        known_answer_interval_s=5.0,
        completeness={"floor_s": 0.6, "ceiling_s": 8.0},
    )
    with appliance:
        moving = Moving(appliance)
        # A reading without a flag is thrown away when a slice comes late.
        clear = small_chest("clear")
        appliance.copy(clear[:-1], "clear")
        moving.until("series_in_flight", lambda n: n == 1)
        appliance.wait("it is read", lambda: "provisional" in stages(appliance))
        moving.until("oldest_pending_seconds", lambda s: s > 0)
        appliance.copy(clear[-1:], "clear")
        moving.until("readings_superseded_total", lambda n: n == 1)
        # One series of each outcome.
        (appliance.export_folder / "broken.dcm").write_text("not DICOM")
        appliance.copy([write_localizer(chest, tmp_path)], "localizer")
        appliance.copy(missing, "missing")
        appliance.copy(small_chest("covid"), "covid")
        appliance.wait_for_findings(5)
        moving.until('light_state{state="suspect"}', lambda on: on == 1)
        moving.until("unacknowledged", lambda n: n == 1)
        moving.until("unacknowledged_oldest_seconds", lambda n: n > 0)
        # Workers that stand still.
        stop_workers(appliance)
        appliance.copy(small_chest("covid"), "again")
        moving.until('queue_depth{stage="parse"}', lambda n: n > 0)
        moving.until('worker_restarts_total{reason="timeout"}', lambda n: n > 0)
        # A destination that refuses, a lamp without power, a folder that is gone.
        results = appliance.results.rename(tmp_path / "results")
        appliance.results.write_text("in the way")
        appliance.copy(
            [write_localizer(Chest(kind="covid", seed=9, slice_mm=5.0, matrix=80), tmp_path)], "other"
        )
        moving.until('delivery_oldest_seconds{destination="results_folder"}', lambda s: s > 0)
        moving.until('deliveries_total{destination="results_folder",result="failed"}', lambda n: n > 0)
        appliance.results.unlink()
        results.rename(appliance.results)
        moving.until('delivery_oldest_seconds{destination="results_folder"}', lambda s: s == 0)
        lamp.with_name("lamp.unplugged").touch()
        export = appliance.export_folder.rename(tmp_path / "away")
        moving.until("export_folder_up", lambda up: up == 0)
        moving.until("lamp_ok", lambda ok: ok == 0)
        moving.until('light_state{state="fault"}', lambda on: on == 1)
        export.rename(appliance.export_folder)
        moving.until("export_folder_up", lambda up: up == 1)

        never = {name.partition("{")[0] for name in moving.first} - {
            name.partition("{")[0] for name in moving.moved
        }
        assert never <= MOVE_ELSEWHERE | STAND_STILL
        before = scraped(appliance, kinds=("counter", "histogram"))
        assert appliance.stop() == 0
        appliance.start()
        after = scraped(appliance, kinds=("counter", "histogram"))
    assert sum(before.values()) > 0
    assert {name: (before[name], after[name]) for name in before if after[name] < before[name]} == {}


def stages(appliance: Appliance) -> list[str]:
    return [one["stage"] for one in appliance.status()["in_progress"]]
