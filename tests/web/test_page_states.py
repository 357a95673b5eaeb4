"""Each state of the light, looked at on each screen and in each scheme."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from chromium import Chromium, needs_chromium
from sample_journal import LiveBoard, moving, record_end
from screens import FOLDER, look_at
from served import Served

from appliance.facts import InProgress
from appliance.journal import Journal
from appliance.reasons import Outcome, Reason

pytestmark = [pytest.mark.slow, needs_chromium]

SERIES = tuple(
    InProgress(f"1.2.3.{number}", seen, stage, "2026-03-01T08:00:00.000Z", number, "CT7", f"…471{number}")
    for number, (seen, stage) in enumerate(
        ((12, "receiving"), (143, "waiting"), (420, "reading"), (58, "provisional"))
    )
)
STATES: dict[str, tuple[str, dict[str, Any]]] = {
    "ready": ("READY", {}),
    "reading": ("READING", {"in_progress": SERIES}),
    "suspect": ("SUSPECT", {"suspect": 2, "newest_alarm": 2, "in_progress": SERIES[:1]}),
    "not-analysed": ("NOT ANALYSED", {"not_analysed": 1, "failed": 2}),
    "fault": ("FAULT", {"folder_up": False, "known_answer_ok": False, "faults": ("state_disk",)}),
    "fault-and-suspect": ("FAULT", {"folder_up": False, "suspect": 2, "newest_alarm": 3, "lamp": "failing"}),
    "no-signal": ("NO SIGNAL", {"suspect": 1, "in_progress": SERIES}),
}


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_seen_whole_and_by_everybody(
    browser: Chromium, server: Served, board: LiveBoard, state: str
) -> None:
    word, changes = STATES[state]
    with moving(board):
        browser.look(1920, 1080)
        browser.open(server.url)
        browser.wait_for("document.querySelectorAll('#last tbody tr').length === 1")
        board.publish(not_accepted=("never_accepted",), **changes)
        if state == "no-signal":
            browser.wait_for(f"document.querySelector('#counts dd').innerText === '{board.facts.suspect}'")
            server.stop()
        browser.wait_for(f"document.querySelector('#light .state').innerText === {word!r}")
        assert browser.evaluate("document.querySelector('#second').hidden") is (state != "fault-and-suspect")
        look_at(browser, state, one_screen=True)


def test_a_full_house_fits_on_a_kiosk(
    browser: Chromium, server: Served, board: LiveBoard, journal: Journal
) -> None:
    for study in range(12):
        record_end(journal, f"1.2.826.9.{study}.1", Outcome.NOT_ANALYSED, Reason.OUTSIDE_INTENDED_USE, None)
    model = replace(board.facts.model, intended_use="demonstration")
    board.publish(
        not_accepted=("never_accepted",), model=model, not_analysed=12, in_progress=3 * SERIES, lamp="failing"
    )
    browser.look(1920, 1080)
    with moving(board):
        browser.open(server.url)
        browser.wait_for("document.querySelectorAll('#last tbody tr').length === 10")
        browser.wait_for("document.querySelector('#progress').innerText.includes('and 7 more')")
        browser.screenshot(FOLDER / "full-kiosk.png")
        assert browser.evaluate("document.documentElement.scrollHeight <= innerHeight")
