"""The way in, in a real browser, over TLS."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium
from openssl import make_certificate
from sample_journal import LiveBoard
from served import Served, died

from appliance.access_token import AccessToken
from appliance.journal import Journal
from appliance.web.access import Access
from appliance.web.app import create_app
from appliance.web.certificate import Certificate

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
TOKEN = "2b7e151628aed2a6abf7158809cf4f3c"
NEW_TOKEN = TOKEN[::-1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="needs chromium: apt-get install chromium"),
]

INSIDE = "location.pathname === '/' && document.querySelector('#light') !== null"
WORD = "document.querySelector('#word')?.textContent"


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(*make_certificate(tmp_path))


@pytest.fixture
def server(board: LiveBoard, journal: Journal, certificate: Certificate) -> Iterator[Served]:
    server = Served(with_token(TOKEN, board, journal), certificate=certificate)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    assert PROGRAM is not None
    browser = Chromium(PROGRAM, tmp_path / "profile")
    browser._call("Security.setIgnoreCertificateErrors", ignore=True)
    yield browser
    browser.close()


def with_token(token: str, board: LiveBoard, journal: Journal):
    return create_app(board, journal.path, died, access=Access(token=AccessToken(token)))


def test_the_link_opens_the_page_once_and_for_later(browser: Chromium, server: Served) -> None:
    browser.open(server.url)
    browser.wait_for(f"{WORD} === 'This screen has no access to Scanlight.'")
    assert "scanlight link" in browser.evaluate("document.body.innerText")

    browser.open(f"{server.url}enter#{TOKEN}")
    browser.wait_for(INSIDE)
    history = browser._call("Page.getNavigationHistory")["entries"]
    assert not [entry for entry in history if TOKEN in entry["url"]]
    assert browser.evaluate("document.cookie") == ""

    browser.open("about:blank")
    browser.open(server.url)
    browser.wait_for(INSIDE)
    assert browser.evaluate("fetch('/api/status').then(a => globalThis.got = a.status) && true")
    browser.wait_for("globalThis.got === 200")


def test_a_screen_that_is_sent_here_by_another_site_comes_in(browser: Chromium, server: Served) -> None:
    browser.open(f"{server.url}enter#{TOKEN}")
    browser.wait_for(INSIDE)
    # Its cookie is not sent with a navigation that another site began.
    portal = f"data:text/html,<a href='{server.url}'>Scanlight</a>"
    browser.open(portal)
    browser.wait_for("document.querySelector('a') !== null")
    browser.evaluate("document.querySelector('a').click()")
    browser.wait_for(INSIDE)


def test_an_old_link_says_so_and_the_new_one_opens(
    browser: Chromium, board: LiveBoard, journal: Journal, server: Served, certificate: Certificate
) -> None:
    browser.open(f"{server.url}enter#{TOKEN}")
    browser.wait_for(INSIDE)
    server.stop()
    again = Served(with_token(NEW_TOKEN, board, journal), server.host, server.port, certificate)
    again.start()
    try:
        browser.open(again.url)
        browser.wait_for(f"{WORD} === 'This screen has no access to Scanlight.'")
        browser.open(f"{again.url}enter#{TOKEN}")
        browser.wait_for(f"{WORD} === 'This link is not valid any more.'")
        assert "IT" in browser.evaluate("document.body.innerText")
        browser.open("about:blank")
        # After the old link this one has to wait, and says so, and is tried again by itself.
        browser.open(f"{again.url}enter#{NEW_TOKEN}")
        browser.wait_for(INSIDE)
    finally:
        again.stop()


def test_a_dead_daemon_at_the_door_is_asked_again(
    browser: Chromium, board: LiveBoard, journal: Journal, server: Served, certificate: Certificate
) -> None:
    browser.open(f"{server.url}enter")
    browser.wait_for(f"{WORD} === 'This screen has no access to Scanlight.'")
    server.stop()
    browser.evaluate(f"location.hash = '{TOKEN}'")
    browser.wait_for(f"{WORD} === 'Scanlight does not answer.'")
    again = Served(with_token(TOKEN, board, journal), server.host, server.port, certificate)
    again.start()
    try:
        browser.wait_for(INSIDE)
    finally:
        again.stop()
