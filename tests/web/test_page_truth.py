"""The state never lies: page, API and metrics say the same through all that can happen to a real daemon."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from chromium import Chromium, needs_chromium
from harness import Appliance
from prometheus_client.parser import text_string_to_metric_families
from ward import export, made, studies

from appliance.light import State

pytestmark = [pytest.mark.slow, needs_chromium]

SHOWN_S = 2.0
SILENT_S = 5.0
PAGE = """(() => {
  const text = (selector) => document.querySelector(selector)?.innerText.trim();
  const counts = [...document.querySelectorAll('#counts > div')].map((one) =>
    [one.dataset.count, Number(one.querySelector('dd').innerText)]);
  return {
    word: text('#light .state'),
    shape: document.querySelector('#light use').getAttribute('href').slice(1),
    second: document.querySelector('#second').hidden ? null : text('#second .state'),
    counts: Object.fromEntries(counts),
  };
})()"""


class Witnesses:
    """All that tell people of a daemon's state."""

    def __init__(self, appliance: Appliance, page: Chromium) -> None:
        self.appliance = appliance
        self.page = page

    def agree(self, state: State, *, second: str | None = None, within: float = 30, **counts: int) -> None:
        """Sooner or later the daemon is in the state, and from then on all say so, the page soon."""
        expected = {"suspect": 0, "not_analysed": 0, "failed": 0, "in_progress": 0, **counts}
        self.appliance.wait(
            f"the API says {state} {expected}",
            lambda: self._api() == (state, expected),
            within,
        )
        told = {
            "word": state.upper().replace("_", " "),
            "shape": state,
            "second": second,
            "counts": expected,
        }
        self._soon("the page", lambda: self.page.evaluate(PAGE), told)
        in_metrics = state, expected["suspect"], expected["in_progress"]
        self._soon("the metrics", self._metrics, in_metrics)
        assert self._api() == (state, expected)

    def _soon(self, who: str, tell: Callable[[], Any], expected: object) -> None:
        end = time.monotonic() + SHOWN_S
        while (told := tell()) != expected:
            assert time.monotonic() < end, f"{who} says {told}, not {expected}"
            time.sleep(0.05)

    def _api(self) -> tuple[str, dict[str, int]]:
        status = self.appliance.status()
        return status["state"], status["counts"]

    def _metrics(self) -> tuple[str, int, int]:
        text = httpx.get(f"{self.appliance.url}/metrics", timeout=5).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        value = {sample.name: int(sample.value) for sample in samples if not sample.labels}
        (state,) = (
            sample.labels["state"]
            for sample in samples
            if sample.name == "scanlight_light_state" and sample.value
        )
        return state, value["scanlight_unacknowledged"], value["scanlight_series_in_flight"]


def test_the_state_never_lies(browser: Chromium, tmp_path: Path) -> None:
    clear, covid, gap = (
        made(kind, seed, tmp_path / f"made{seed}", f"ACC{seed}")
        for kind, seed in (("clear", 4), ("covid", 3), ("clear", 5))
    )
    # Long enough to be seen reading, whatever else the machine does.
    with Appliance(tmp_path, completeness={"floor_s": 0.6, "ceiling_s": 6.0}) as appliance:
        say = Witnesses(appliance, browser)
        browser.open(appliance.url)
        browser.wait_for("document.querySelector('#light .state')?.innerText === 'READY'")
        say.agree(State.READY)

        export(appliance, "clear", clear)
        say.agree(State.READING, in_progress=1)
        say.agree(State.READY)

        export(appliance, "covid", covid)
        say.agree(State.SUSPECT, suspect=1)
        study = studies(appliance)["flagged"]["study"]
        do(appliance, study, "acknowledge")
        say.agree(State.READY)

        export(appliance, "gap", gap[:20] + gap[21:])
        say.agree(State.NOT_ANALYSED, not_analysed=1)
        do(appliance, studies(appliance)["not_analysed"]["study"], "seen")
        say.agree(State.READY)

        (appliance.export_folder / "broken.dcm").write_bytes(bytes(128) + b"DICM" + bytes(9000))
        say.agree(State.NOT_ANALYSED, failed=1)
        do(appliance, studies(appliance)["failed"]["study"], "seen")
        say.agree(State.READY)

        away = appliance.export_folder.rename(tmp_path / "away")
        say.agree(State.FAULT)
        do(appliance, study, "take-back")
        say.agree(State.FAULT, suspect=1, second="SUSPECT")
        away.rename(appliance.export_folder)
        say.agree(State.SUSPECT, suspect=1)

        appliance.stop(signal.SIGKILL)
        browser.wait_for("document.querySelector('#light .state').innerText === 'NO SIGNAL'", SILENT_S)
        assert browser.evaluate("document.title").startswith("NO SIGNAL")
        appliance.start()
        say.agree(State.SUSPECT, suspect=1)
        assert browser.evaluate("performance.getEntriesByType('navigation').length") == 1


def do(appliance: Appliance, study: int, action: str) -> None:
    there = f"{appliance.url}/api/studies/{study}/{action}"
    answer = httpx.post(there, json={"name": "Ada"}, headers={"X-Scanlight": "1"}, timeout=15)
    assert answer.status_code == 200, answer.text
