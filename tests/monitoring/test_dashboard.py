"""A real Prometheus that scrapes a real appliance at work: every query of the dashboard and of the rules."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Appliance
from nvml import with_two_gpus
from real_prometheus import Prometheus, scraping, wait
from rules import alerts, program, queries, rules

from tools.phantom import Chest, Export, make_chest, write_localizer, write_series

pytestmark = pytest.mark.slow

QUERIES = list(queries())
OUTCOMES = ("flagged", "not_flagged", "skipped", "not_analysed", "failed")


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, small_chest: Callable[[str], list[Path]]
) -> Iterator[Prometheus]:
    """It has watched one series of each outcome come in, on a machine with two GPUs and a lamp."""
    program("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("watched")
    gpus = with_two_gpus(folder)
    appliance = Appliance(folder, lamp={"command": [shutil.which("true")]})
    with appliance.launched(gpus):
        appliance.wait_until_ready()
        with scraping(appliance.url.removeprefix("http://"), folder) as prometheus:
            wait("it is scraped", lambda: prometheus.value("scanlight_unacknowledged") == 0)
            export(appliance, folder, small_chest)
            appliance.wait_for_findings(len(OUTCOMES))
            wait(
                "all is scraped twice",
                lambda: prometheus.value("sum(scanlight_series_total offset 2s)") == len(OUTCOMES),
            )
            yield prometheus


def export(appliance: Appliance, folder: Path, small_chest: Callable[[str], list[Path]]) -> None:
    chest = Chest(kind="clear", seed=4, slice_mm=5.0, matrix=80)
    slices = write_series(make_chest(chest), folder / "missing", Export())
    (appliance.export_folder / "broken.dcm").write_text("not DICOM")
    appliance.copy([write_localizer(chest, folder)], "localizer")
    appliance.copy(slices[:20] + slices[21:], "missing")
    appliance.copy(small_chest("covid"), "covid")
    appliance.copy(small_chest("clear"), "clear")


def numbers(found: list[tuple[dict[str, str], float]]) -> list[float]:
    return [value for _, value in found if not math.isnan(value)]


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_a_panel_shows_something(prometheus: Prometheus, title: str, query: str) -> None:
    assert numbers(prometheus.query(query)), query


def test_every_outcome_was_counted_once(prometheus: Prometheus) -> None:
    for outcome in OUTCOMES:
        assert prometheus.value(f'sum(scanlight_series_total{{outcome="{outcome}"}})') == 1
    assert prometheus.value('scanlight_light_state{state="suspect"}') == 1
    assert prometheus.value("scanlight_unacknowledged") == 1


def test_every_rule_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    wait(
        "every rule was evaluated",
        lambda: {rule["health"] for rule in evaluated(prometheus)} == {"ok"},
    )
    found = evaluated(prometheus)
    assert len(found) == len(rules())
    assert [rule["lastError"] for rule in found if rule.get("lastError")] == []
    assert {rule["name"] for rule in found if rule["type"] == "alerting"} == set(alerts())


def evaluated(prometheus: Prometheus) -> list[dict[str, str]]:
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("name", [rule["record"] for rule in rules() if "record" in rule])
def test_a_recording_rule_records_something(prometheus: Prometheus, name: str) -> None:
    assert numbers(prometheus.query(name))


@pytest.mark.parametrize("name", alerts())
def test_what_an_alert_compares_is_there(prometheus: Prometheus, name: str) -> None:
    """A comparison that is not true has no sample; its left side must have one, or the alert is blind."""
    left = re.split(" (?:==|!=|>=|>|<) ", alerts()[name]["expr"])[0]
    assert numbers(prometheus.query(left)), left
