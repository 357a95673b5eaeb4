"""The light on the page, in a real browser."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from chromium import Chromium, needs_chromium
from sample_journal import PATIENT_FILE, LiveBoard, moving
from served import Served, died
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.access_token import AccessToken
from appliance.facts import InProgress
from appliance.journal import Journal
from appliance.web.access import Access
from appliance.web.app import create_app

pytestmark = [pytest.mark.slow, needs_chromium]

WORD = "document.querySelector('#light .word')?.innerText.trim()"
FIRST_PAINT_BYTES = 200_000
LATER = """
const now = performance.now.bind(performance);
window.later = 0;
performance.now = () => now() + window.later;
"""
FIVE_MINUTES = "window.later += 5 * 60 * 1000 + 1000"
COUNT_TONES = """
window.tones = 0;
window.OscillatorNode = class extends OscillatorNode {
  constructor(...all) {
    super(...all);
    window.tones += 1;
  }
};
"""


@pytest.fixture
def page(browser: Chromium, server: Served, board: LiveBoard) -> Iterator[Chromium]:
    """The page of an appliance whose main loop moves."""
    with moving(board):
        browser.open(server.url)
        browser.wait_for(f"{WORD} === 'READY'")
        yield browser


def test_every_state_by_word_and_shape(page: Chromium, board: LiveBoard) -> None:
    assert page.text("#light .line") == "No flag is not a negative result"
    series = InProgress("1.2.3.999111", 143, "receiving", "2026-03-01T08:00:00.000Z", 7, "CT7", "…4711")
    states = (
        ("READING", "reading", {"in_progress": (series,)}),
        ("NOT ANALYSED", "not_analysed", {"not_analysed": 2}),
        ("SUSPECT", "suspect", {"suspect": 1}),
        ("FAULT call IT", "fault", {"folder_up": False}),
    )
    shapes = set()
    for word, shape, changes in states:
        board.publish(**changes)
        page.wait_for(f"{WORD} === {word!r}", 2)
        assert page.evaluate("document.querySelector('#light use').getAttribute('href')") == f"#{shape}"
        shapes.add(page.evaluate(f"document.getElementById({shape!r}).innerHTML"))
        assert page.evaluate("document.title").startswith(word.removesuffix(" call IT"))
    assert len(shapes) == len(states)
    assert page.text("#second").startswith("SUSPECT")
    assert "SUSPECT" in page.evaluate("document.title")
    counts = page.evaluate("[...document.querySelectorAll('#counts dd')].map(one => one.textContent)")
    assert counts == ["1", "2", "0", "1"]
    assert page.text("#progress").split() == ["143", "slices", "slices", "arrive", "…4711", "08:00"]
    assert page.complaints() == []


def test_the_steps_of_a_series_follow_what_is_known_of_it(page: Chromium, board: LiveBoard) -> None:
    bar = "document.querySelector('[role=progressbar]')?.getAttribute('aria-valuetext')"
    for step, (stage, seen, words) in enumerate(
        (
            ("receiving", 3, "slices arrive"),
            ("receiving", 60, "slices arrive"),
            ("waiting", 60, "waits to be read"),
            ("reading", 60, "is being read"),
            ("provisional", 60, "read, waits for late slices"),
        )
    ):
        board.publish(in_progress=(InProgress("1.2.3", seen, stage, "2026-03-01T08:00:00.000Z", 7),))
        page.wait_for(f"{bar} === 'step {max(1, step)} of 4: {words}, {seen} slices'", 2)


def test_a_dead_daemon_is_no_signal_until_it_answers_again(page: Chromium, server: Served) -> None:
    server.stop()
    page.wait_for(f"{WORD} === 'NO SIGNAL'", 5)
    assert "READY" not in page.evaluate("document.body.innerText + document.title")
    again = Served(server._server.config.app, server.host, server.port)
    again.start()
    try:
        page.wait_for(f"{WORD} === 'READY'")
    finally:
        again.stop()


def test_a_main_loop_that_hangs_is_a_fault_though_the_events_come(
    browser: Chromium, board: LiveBoard, journal: Journal
) -> None:
    server = Served(create_app(board, journal.path, died, heartbeat_limit_s=1))
    server.start()
    try:
        browser.open(server.url)
        browser.wait_for(f"{WORD} === 'FAULT call IT'")
    finally:
        server.stop()


def test_a_demonstration_says_so(page: Chromium, board: LiveBoard) -> None:
    assert not page.text("header")
    board.publish(
        model=replace(board.facts.model, intended_use="demonstration"), not_accepted=("never_accepted",)
    )
    page.wait_for("document.querySelector('header').innerText.includes('NOT ACCEPTED')")
    assert "tell IT: no acceptance test of this installation has been signed" in page.text("#not-accepted")
    band = page.text("#demo")
    assert "DEMO" in band
    assert "not for clinical use" in band
    assert "a notice of the model" in band


def test_a_lamp_that_fails_is_said_beside_the_state(page: Chromium, board: LiveBoard) -> None:
    assert not page.text("#notices")
    board.publish(lamp="failing")
    page.wait_for("document.querySelector('#notices').innerText.includes('amp')", 2)
    assert page.evaluate(WORD) == "READY"


def test_a_new_suspect_alerts_also_while_another_waits(page: Chromium, board: LiveBoard) -> None:
    board.publish(suspect=1, newest_alarm=5)
    page.wait_for("document.body.classList.contains('alert')", 2)
    page.evaluate("document.body.classList.remove('alert')")
    board.publish(suspect=2, newest_alarm=9)
    page.wait_for("document.body.classList.contains('alert')", 2)
    assert "a new suspect at" in page.text("#light .since")
    board.publish(suspect=0, newest_alarm=0)
    page.wait_for(f"{WORD} === 'READY'", 2)
    assert "suspect" not in page.text("#light")


def test_a_sound_for_a_new_suspect_when_somebody_wants_it(
    browser: Chromium, server: Served, board: LiveBoard
) -> None:
    browser.before_each_page(COUNT_TONES + LATER)
    with moving(board):
        browser.open(server.url)
        browser.wait_for(f"{WORD} === 'READY'")
        board.publish(suspect=1, newest_alarm=5)
        browser.wait_for("document.body.classList.contains('alert')")
        assert (browser.text("#sound"), browser.evaluate("tones")) == ("Sound: off", 0)

        browser.click("#sound")
        browser.wait_for("document.querySelector('#sound').innerText === 'Sound: on' && tones === 4")
        browser.click("#test-sound")
        browser.wait_for("tones === 8")
        board.publish(suspect=2, newest_alarm=6)
        browser.wait_for("tones === 12")
        browser.evaluate("new Promise(done => setTimeout(done, 1500))")
        assert browser.evaluate("tones") == 12
        browser.evaluate(FIVE_MINUTES)
        browser.wait_for("tones === 16")

        # Chosen for good, but no browser plays before somebody has touched the page.
        browser.open(f"{server.url}?again")
        browser.wait_for("document.querySelector('#sound')?.innerText === 'Sound: on'")
        assert "before the first click" in browser.text("#needs-click")
        browser.click("h2")
        browser.wait_for("document.querySelector('#needs-click').hidden")
        board.publish(suspect=3, newest_alarm=7)
        browser.wait_for("tones === 4")


def test_a_view_that_somebody_left_gives_way_to_the_light(
    browser: Chromium, server: Served, board: LiveBoard
) -> None:
    browser.before_each_page(LATER)
    with moving(board):
        browser.open(f"{server.url}#history")
        browser.wait_for("document.querySelectorAll('#past tbody tr').length === 1")
        browser.evaluate("new Promise(done => setTimeout(done, 1500))")
        assert browser.evaluate("document.body.dataset.view") == "history"
        browser.evaluate(FIVE_MINUTES)
        browser.wait_for("document.body.dataset.view === 'light'")


def test_a_screen_that_has_lost_its_access_says_how_to_get_in(
    browser: Chromium, board: LiveBoard, journal: Journal
) -> None:
    def of(token: str, port: int = 0) -> Served:
        access = Access(token=AccessToken(token))
        return Served(create_app(board, journal.path, died, access=access), port=port)

    old = of("2b7e151628aed2a6abf7158809cf4f3c")
    old.start()
    with moving(board):
        browser.open(f"{old.url}enter#2b7e151628aed2a6abf7158809cf4f3c")
        browser.wait_for(f"{WORD} === 'READY'")
        browser.evaluate("location.hash = '#study/1'")
        browser.wait_for("document.querySelectorAll('#series li').length > 0")
        old.stop()
        new = of("3c4fcf098815f7aba6d2ae2816157e2b", old.port)
        new.start()
        try:
            browser.wait_for("document.querySelector('#line')?.innerText.includes('scanlight link')")
            assert "This screen has no access" in browser.text("main")
            # A link to a study is no token, which would be slowed down for being wrong.
            browser.open(f"{new.url}#study/1")
            browser.evaluate("new Promise(done => setTimeout(done, 500))")
            assert "This screen has no access" in browser.text("main")
        finally:
            new.stop()


def test_a_dim_page_stays_dim(browser: Chromium, server: Served, board: LiveBoard) -> None:
    with moving(board):
        browser.open(server.url)
        browser.wait_for(f"{WORD} === 'READY'")
        choose = "const one = document.querySelector('#scheme'); one.value = 'dim';"
        browser.evaluate(f"{choose} one.dispatchEvent(new Event('change'))")
        browser.open(f"{server.url}?again")
        browser.wait_for(f"{WORD} === 'READY'")
        assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(0, 0, 0)"


class Counted:
    """An application of which we know what was asked; of its events only so many come through, as with some
    proxies."""

    def __init__(self, app: ASGIApp, events: float) -> None:
        self._app = app
        self._events = events
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.asked.append(scope["path"])
        came = 0

        async def some(message: Message) -> None:
            nonlocal came
            came += 1
            if scope["type"] != "http" or scope["path"] != "/events" or came <= self._events:
                await send(message)

        await self._app(scope, receive, some)


@pytest.mark.parametrize("events", [math.inf, 4, 0], ids=["all come", "some come", "a proxy holds them back"])
def test_changes_show_with_events_and_without(
    browser: Chromium, board: LiveBoard, journal: Journal, events: float
) -> None:
    app = Counted(create_app(board, journal.path, died), events)
    server = Served(app)
    server.start()
    try:
        with moving(board):
            browser.open(server.url)
            browser.wait_for(f"{WORD} === 'READY'")
            browser.evaluate("new Promise(done => setTimeout(done, 4500))")
            assert browser.evaluate(WORD) == "READY"
            before = app.asked.count("/api/status")
            board.publish(suspect=1)
            browser.wait_for(f"{WORD} === 'SUSPECT'", 2)
            browser.evaluate("new Promise(done => setTimeout(done, 2500))")
            assert (app.asked.count("/api/status") > before) is (events != math.inf)
    finally:
        server.stop()


def test_the_first_paint_is_small(page: Chromium) -> None:
    loaded = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(({name, encodedBodySize}) => [new URL(name).pathname, encodedBodySize])"
    )
    files = [path for path, _ in loaded]
    assert {"/", "/page.css", "/page.js", "/study.js"} <= set(files)
    assert sum(size for _, size in loaded) < FIRST_PAINT_BYTES


def test_no_patient_data_in_what_the_journal_holds_of_it(page: Chromium) -> None:
    page.wait_for("document.querySelectorAll('#last tbody tr').length === 1")
    page.evaluate("location.hash = document.querySelector('#last a').getAttribute('href')")
    page.wait_for("document.querySelectorAll('#series li').length > 0")
    everything = page.evaluate("document.documentElement.outerHTML")
    assert PATIENT_FILE not in everything
    assert "1.2.826" not in everything
