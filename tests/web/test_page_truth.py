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
from rig import RIGGED, environment
from ward import export, made, studies

from appliance.light import State

pytestmark = [pytest.mark.slow, needs_chromium]

SHOWN_S = 2.0
SILENT_S = 5.0
GAUGES = tuple(
    f"scanlight_{name}" for name in ("light_state", "unacknowledged", "unseen", "series_in_flight")
)
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
        self._soon("the metrics", self._metrics, (state, expected))
        assert self._api() == (state, expected)

    def _soon(self, who: str, tell: Callable[[], Any], expected: object) -> None:
        end = time.monotonic() + SHOWN_S
        while (told := tell()) != expected:
            assert time.monotonic() < end, f"{who} says {told}, not {expected}"
            time.sleep(0.05)

    def _api(self) -> tuple[str, dict[str, int]]:
        status = self.appliance.status()
        return status["state"], status["counts"]

    def _metrics(self) -> tuple[str, dict[str, int]]:
        text = httpx.get(f"{self.appliance.url}/metrics", timeout=5).text
        value = {
            (sample.name.removeprefix("scanlight_"), *sample.labels.values()): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("scanlight_") and sample.name in GAUGES
        }
        (state,) = (state for state in State if value["light_state", state])
        return state, {
            "suspect": value["unacknowledged",],
            "not_analysed": value["unseen", "not_analysed"],
            "failed": value["unseen", "failed"],
            "in_progress": value["series_in_flight",],
        }


def test_the_state_never_lies(browser: Chromium, tmp_path: Path) -> None:
    clear, covid, gap = (
        made(kind, seed, tmp_path / f"made{seed}", f"ACC{seed}")
        for kind, seed in (("clear", 4), ("covid", 3), ("clear", 5))
    )
    # Long enough to be seen reading, whatever else the machine does.
    pace = {"floor_s": 0.6, "ceiling_s": 6.0}
    appliance = Appliance(tmp_path, completeness=pace, known_answer_interval_s=2.0)
    appliance.program = RIGGED
    rig = tmp_path / "rig"
    rig.mkdir()
    appliance.environment = environment(rig)
    (rig / "opening").touch()
    with appliance.launched():
        say = Witnesses(appliance, browser)
        appliance.wait("it answers", lambda: answers(appliance))
        browser.open(appliance.url)
        say.agree(State.READING)
        (rig / "opening").unlink()
        say.agree(State.READY)

        (rig / "bias").write_text("-0.9")
        say.agree(State.FAULT)
        (rig / "bias").unlink()
        say.agree(State.READY)

        export(appliance, "clear", clear)
        say.agree(State.READING, in_progress=1)
        say.agree(State.READY)

        export(appliance, "covid", covid)
        say.agree(State.SUSPECT, suspect=1)
        study = studies(appliance)["flagged"]["study"]
        export(appliance, "gap", gap[:20] + gap[21:])
        say.agree(State.SUSPECT, suspect=1, not_analysed=1)
        do(appliance, study, "acknowledge")
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


def answers(appliance: Appliance) -> bool:
    try:
        return bool(appliance.status())
    except httpx.HTTPError:
        return False


def do(appliance: Appliance, study: int, action: str) -> None:
    there = f"{appliance.url}/api/studies/{study}/{action}"
    answer = httpx.post(there, json={"name": "Ada"}, headers={"X-Scanlight": "1"}, timeout=15)
    assert answer.status_code == 200, answer.text
