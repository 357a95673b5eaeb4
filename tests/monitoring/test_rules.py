"""The rules, their cases, their paragraphs: everything that needs no running Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rules import CASES, DASHBOARD, MONITORING, ROOT, RULES, alerts, program, queries, rules
from sample_facts import ready

from appliance.journal import Journal, JournalReader
from appliance.metrics import registry

ALERTS_PAGE = (ROOT / "docs" / "alerts.md").read_text()


def told(*words: str | Path, text: str | None = None) -> str:
    """What a program says; it must end well."""
    done = subprocess.run(words, input=text, cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def exposition(tmp_path: Path) -> str:
    journal = Journal(tmp_path / "journal.db")
    facts = ready(lamp="ok")
    return generate_latest(registry(lambda: facts, JournalReader(journal.path).totals)).decode()


@pytest.mark.slow
def test_every_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in told(
        program("promtool", "prometheus"), "test", "rules", CASES.name, "working_hours.test.yml"
    )


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [
        (case["alertname"], bool(case["exp_alerts"]))
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    assert set(cases) == {(name, fires) for name in alerts() for fires in (True, False)}


def test_the_examples_are_valid() -> None:
    assert "SUCCESS" in told(program("promtool", "prometheus"), "check", "config", "prometheus.yml")
    assert "SUCCESS" in told(program("amtool", "prometheus-alertmanager"), "check-config", "alertmanager.yml")


def test_every_team_of_an_alert_is_told_by_the_example() -> None:
    routes = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())["route"]["routes"]
    named = {matcher for route in routes for matcher in route["matchers"]}
    labels = {(rule["labels"]["team"], rule["labels"]["severity"]) for rule in alerts().values()}
    assert labels == {("it", "critical"), ("it", "warning"), ("radiology", "warning")}
    assert named == {"team = radiology", "severity = critical"}


def test_the_metrics_are_as_prometheus_wants_them(exposition: str) -> None:
    assert told(program("promtool", "prometheus"), "check", "metrics", text=exposition) == ""


def test_every_alert_has_its_paragraph_and_every_paragraph_its_alert() -> None:
    paragraphs = dict(re.findall(r"^### (\w+)\n\n(.+?)(?=\n#|\Z)", ALERTS_PAGE, re.M | re.S))
    assert set(paragraphs) == set(alerts())
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"
        text = " ".join(paragraphs[name].split())
        assert "Check first" in text, name
        assert "`" in text or "page" in text, name
        assert re.search(r"\b[Cc]all\b", text), name


def test_rules_and_dashboard_name_metrics_that_there_are(exposition: str) -> None:
    families = list(text_string_to_metric_families(exposition))
    known = {one.name for one in families} | {sample.name for one in families for sample in one.samples}
    known |= {f"{one.name}_bucket" for one in families if one.type == "histogram"}
    known |= {rule["record"] for rule in rules() if "record" in rule}
    asked = " ".join([str(rule["expr"]) for rule in rules()] + [query for _, query in queries()])
    named = set(re.findall(r"\b(?:scanlight|process)[_:][a-z0-9_:]+", asked))
    assert len(named) > 30
    assert named <= known


def test_the_dashboard_has_its_rows_and_no_panel_lies_on_another() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == ["Throughput", "Latency by stage", "Outcomes and reasons", "Machine and engine"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_every_metric_is_on_the_dashboard_or_in_a_rule(exposition: str) -> None:
    asked = RULES.read_text() + DASHBOARD.read_text()
    for family in text_string_to_metric_families(exposition):
        if family.name.startswith("scanlight_"):
            assert family.name in asked, family.name


def test_every_objective_is_kept_by_an_alert() -> None:
    asked = " ".join(str(rule["expr"]) for rule in alerts().values())
    objectives = [rule["record"] for rule in rules() if "objective" in rule.get("record", "")]
    assert len(objectives) == 9
    assert [name for name in objectives if name not in asked] == []


def test_every_metric_is_explained(exposition: str) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    explained = set(re.findall(r"`(scanlight_\w+?)(?:_total)?(?:\{|`)", page))
    told_of = {one.name for one in text_string_to_metric_families(exposition)}
    assert explained == {name for name in told_of if name.startswith("scanlight_")}
