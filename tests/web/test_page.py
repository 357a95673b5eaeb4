"""The page in a real browser."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import Chromium
from sample_journal import ENDED, PATIENT_FILE, LiveBoard
from served import Served

from appliance.facts import InProgress

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="needs the package chromium"),
]

WORD = "document.querySelector('#light .word')?.innerText.trim()"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    assert PROGRAM is not None
    browser = Chromium(PROGRAM, tmp_path / "profile")
    yield browser
    browser.close()


@pytest.fixture
def page(browser: Chromium, server: Served, board: LiveBoard) -> Iterator[Chromium]:
    """The page of an appliance whose main loop moves."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.5):
            board.publish()

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        browser.open(server.url)
        browser.wait_for(f"{WORD} === 'READY' && document.querySelectorAll('#findings tr').length === 4")
        yield browser
    finally:
        stop.set()
        beating.join()


def test_every_state_by_word_and_shape(page: Chromium, board: LiveBoard) -> None:
    line = "document.querySelector('#light .line').textContent"
    assert page.evaluate(line) == "no flag is not a negative result"
    series = InProgress("1.2.3.999111", 143, "receiving", "2026-03-01T08:00:00.000Z")
    states = (
        ("READING", "reading", {"in_progress": (series,)}),
        ("NOT ANALYSED", "not_analysed", {"not_analysed": 2}),
        ("SUSPECT", "suspect", {"suspect": 1}),
        ("FAULT call IT", "fault", {"folder_up": False}),
    )
    shapes = set()
    for word, shape, changes in states:
        board.publish(**changes)
        page.wait_for(f"{WORD} === {word!r}")
        assert page.evaluate("document.querySelector('#light use').getAttribute('href')") == f"#{shape}"
        shapes.add(page.evaluate(f"document.getElementById({shape!r}).innerHTML"))
        assert page.evaluate("document.title").startswith(word.removesuffix(" call IT"))
    assert len(shapes) == len(states)
    assert page.evaluate("document.querySelector('#second').innerText").startswith("SUSPECT")
    counts = page.evaluate("[...document.querySelectorAll('#counts dd')].map(one => one.textContent)")
    assert counts == ["1", "2", "0", "1"]
    assert "143 slices" in page.evaluate("document.querySelector('#progress').innerText")
    assert page.complaints() == []


def test_findings_say_what_and_why_and_no_patient_data(page: Chromium) -> None:
    rows = page.evaluate("[...document.querySelectorAll('#findings tr')].map(row => row.innerText)")
    words = ["Failed", "Not analysed", "No flag", "Suspected"]
    assert [word in row for word, row in zip(words, rows, strict=True)] == [True] * 4
    assert "slice is missing" in rows[1]
    assert "0.499" in rows[2]
    assert "flags from 0.5" in rows[3]
    assert "3.4 s" in rows[3]
    everything = page.evaluate("document.documentElement.outerHTML")
    assert PATIENT_FILE not in everything
    assert not [uid for uid, *_ in ENDED if uid in everything]
    assert page.complaints() == []


def test_a_dead_daemon_is_no_signal_until_it_answers_again(page: Chromium, server: Served) -> None:
    server.stop()
    page.wait_for(f"{WORD} === 'NO SIGNAL'")
    assert "READY" not in page.evaluate("document.body.innerText + document.title")
    again = Served(server._server.config.app, server.host, server.port)
    again.start()
    try:
        page.wait_for(f"{WORD} === 'READY'")
    finally:
        again.stop()


def test_a_demonstration_says_so(page: Chromium, board: LiveBoard) -> None:
    assert not page.evaluate("document.querySelector('header').innerText.trim()")
    board.publish(model=replace(board.facts.model, intended_use="demonstration"), accepted=False)
    page.wait_for("document.querySelector('header').innerText.includes('NOT ACCEPTED')")
    band = page.evaluate("document.querySelector('#demo').innerText")
    assert "DEMO" in band
    assert "not for clinical use" in band
    assert "a notice of the model" in band


@pytest.mark.parametrize("size", [(360, 640), (768, 1024), (1920, 1080)])
def test_nothing_is_cut_off(page: Chromium, board: LiveBoard, size: tuple[int, int]) -> None:
    board.publish(folder_up=False, suspect=1, accepted=False)
    page.look(*size)
    page.wait_for("document.querySelector('#second').innerText.startsWith('SUSPECT')")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if size == (1920, 1080):
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
