"""A Prometheus of its own for a test, with the rules of monitoring/, that scrapes one appliance."""

from __future__ import annotations

import math
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from rules import RULES, program

INTERVAL = "1s"


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **asked: str) -> Any:
        answer = httpx.get(f"{self._url}/api/v1/{path}", params=asked, timeout=20).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and the value of every sample that there is now."""
        result = self.get("query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in result]

    def value(self, expression: str) -> float:
        """Of the only sample; not a number when there is none."""
        found = self.query(expression)
        return found[0][1] if len(found) == 1 else math.nan


@contextmanager
def scraping(target: str, folder: Path) -> Iterator[Prometheus]:
    """Until it has been asked for a while; the test is skipped where there is no Prometheus."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = folder / "prometheus.yml"
    settings = {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "scanlight", "static_configs": [{"targets": [target]}]}],
    }
    config.write_text(yaml.safe_dump(settings))
    words = [
        program("prometheus", "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(words, stderr=log) as process:
        prometheus = Prometheus(f"http://{address}")
        try:
            wait("Prometheus answers", lambda: answers(f"http://{address}/-/ready"))
            yield prometheus
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def wait(what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in {seconds:g} s: {what}"
        time.sleep(0.2)
