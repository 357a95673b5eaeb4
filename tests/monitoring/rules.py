"""What is in monitoring/, as the tests look at it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "monitoring"
RULES = MONITORING / "scanlight.rules.yml"
CASES = MONITORING / "scanlight.rules.test.yml"
DASHBOARD = MONITORING / "grafana" / "dashboards" / "scanlight.json"


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}: apt-get install {package}")
    return found


def rules() -> list[dict[str, Any]]:
    """Recording and alert rules, in their order."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def queries() -> Iterator[tuple[str, str]]:
    """(title of the panel, query) of the dashboard, with values for Grafana's variables."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$instance", ".*").replace("$__rate_interval", "10s")
