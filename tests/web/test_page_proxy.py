"""The page behind a reverse proxy that says who asks."""

from __future__ import annotations

import pytest
from chromium import Chromium, needs_chromium
from sample_journal import LiveBoard, moving
from served import Served, died

from appliance.control import Command, MarkStudy
from appliance.journal import Journal
from appliance.web.access import Access
from appliance.web.app import create_app

pytestmark = [pytest.mark.slow, needs_chromium]


def test_who_is_known_to_the_proxy_is_not_asked_for_a_name(
    browser: Chromium, board: LiveBoard, journal: Journal
) -> None:
    def command(asked: Command) -> None:
        assert isinstance(asked, MarkStudy)
        asked.done.set_result(journal.mark(asked.study, asked.action, asked.name, asked.upto))

    app = create_app(board, journal.path, died, command=command, access=Access(user_header="X-Remote-User"))
    server = Served(app)
    server.start()
    browser.send_header("X-Remote-User", "Dr. Grey")
    with moving(board):
        browser.open(f"{server.url}#study/1")
        browser.wait_for("document.querySelector('[data-action=acknowledge]') !== null")
        browser.click("[data-action=acknowledge]")
        browser.wait_for("document.querySelector('#people').innerText.includes('by Dr. Grey')")
    assert not browser.evaluate("document.querySelector('#who').open")
    server.stop()
