"""A study on the page of a real daemon: what came of it and why, its images, what people do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from chromium import Chromium, needs_chromium
from harness import Appliance
from screens import look_at
from ward import PATIENT, studies

pytestmark = [pytest.mark.slow, needs_chromium]

STATE = "document.querySelector('#light .state')?.innerText"


@pytest.fixture
def page(browser: Chromium, appliance: Appliance) -> Iterator[Chromium]:
    browser.look(1920, 1080)
    browser.open(appliance.url)
    browser.wait_for("document.querySelectorAll('#last tbody tr').length === 4")
    yield browser
    assert [one for one in browser.complaints() if one["method"] == "Runtime.exceptionThrown"] == []


def open_study(page: Chromium, appliance: Appliance, outcome: str) -> int:
    number: int = studies(appliance)[outcome]["study"]
    page.evaluate(f"location.hash = '#study/{number}'")
    page.wait_for(f"document.querySelector('#study').dataset.number === '{number}'")
    return number


def named(page: Chromium, action: str, name: str) -> None:
    """Do something about the study that is shown, by the keyboard alone from the dialog on."""
    page.click(f"[data-action={action}]")
    page.wait_for("document.querySelector('#who').open")
    page.evaluate("document.activeElement.select()")
    page.type(name)
    page.press("Enter")
    page.wait_for("!document.querySelector('#who').open")


def test_the_list_says_what_and_why_and_when(page: Chromium) -> None:
    rows = page.evaluate("[...document.querySelectorAll('#last tbody tr')].map(row => row.innerText)")
    by = {word: next(row for row in rows if word in row) for word in ("Suspected", "Not", "Failed")}
    assert "…4711" in by["Suspected"]
    assert re.search(r"0\.9\d\d\s*flags from 0.5", by["Suspected"])
    assert re.search(r"\d+\.\d s$", by["Suspected"])
    assert "just now" in by["Suspected"] or "min ago" in by["Suspected"]
    assert "A slice is missing" in by["Not"]
    assert "cannot be read as DICOM" in by["Failed"]


def test_enter_opens_a_study_and_escape_returns_to_its_row(page: Chromium) -> None:
    page.evaluate("document.querySelector('#last tbody a').focus()")
    page.press("Enter")
    page.wait_for("document.body.dataset.view === 'study'")
    page.wait_for("document.querySelectorAll('#series li').length > 0")
    page.wait_for("document.activeElement.id === 'study-title'")
    page.press("Escape")
    page.wait_for("document.body.dataset.view === 'light'")
    page.wait_for("document.activeElement === document.querySelector('#last tbody a')")


HOLDING = """
  window.held = { path: null, broken: false, ms: 1200 };
  const really = fetch;
  window.fetch = async (url, ...more) => {
    const { path, broken, ms } = window.held;
    if (path === null || !String(url).includes(path)) return really(url, ...more);
    await new Promise((done) => setTimeout(done, ms));
    if (broken) throw new TypeError("broken");
    return really(url, ...more);
  };
"""
"""Answers to what is asked of a path come late, or not at all."""


@pytest.fixture
def held(browser: Chromium, appliance: Appliance) -> Chromium:
    browser.look(1920, 1080)
    browser.before_each_page(HOLDING)
    browser.open(appliance.url)
    browser.wait_for("document.querySelectorAll('#last tbody tr').length === 4")
    return browser


@pytest.mark.parametrize("late", ["", "/series/"])
def test_no_study_is_shown_under_the_name_of_another(held: Chromium, appliance: Appliance, late: str) -> None:
    """Answers may come in another order than they were asked for."""
    numbers = {outcome: one["study"] for outcome, one in studies(appliance).items()}
    first, second = numbers["flagged"], numbers["not_flagged"]
    held.evaluate(f"window.held.path = '/api/studies/{first}{late}'; location.hash = '#study/{first}'")
    if late:
        held.wait_for(f"document.querySelector('#study').dataset.number === '{first}'")
    held.evaluate(f"location.hash = '#study/{second}'")
    held.wait_for(f"document.querySelector('#study').dataset.number === '{second}'")
    image = "document.querySelector('#images img')?.src"
    held.wait_for(f"{image}?.includes('/studies/{second}/')")
    held.evaluate("new Promise((done) => setTimeout(done, 2500))")
    assert f"/studies/{second}/" in held.evaluate(image)
    assert held.evaluate("document.querySelector('#study').dataset.number") == str(second)
    assert held.text("#actions") == ""


def test_images_that_do_not_come_are_asked_for_again(held: Chromium, appliance: Appliance) -> None:
    held.evaluate("window.held = { path: '/images', broken: true, ms: 10 }")
    open_study(held, appliance, "flagged")
    held.wait_for("document.querySelector('#images').innerText === 'The images cannot be shown now.'")
    held.evaluate("window.held.path = null")
    held.wait_for("document.querySelector('#images img')?.naturalWidth > 0")
    open_study(held, appliance, "not_analysed")
    held.wait_for("document.querySelector('#images').innerText.includes('nothing of this study was read')")


def test_each_series_says_why_it_was_read_or_not(page: Chromium, appliance: Appliance) -> None:
    open_study(page, appliance, "flagged")
    series = page.evaluate("[...document.querySelectorAll('#series li.series')].map(one => one.innerText)")
    soft, sharp, scout = (next(one for one in series if f"Series {n}" in one) for n in (2, 3, 1))
    assert "the best-ranked reading" in soft
    assert "soft kernel" in soft
    assert "the probability reached 0.5" in soft
    assert re.search(r"model\s+\d", soft)
    assert "the best-ranked reading" not in sharp
    assert "sharp kernel" in sharp
    assert "localizer" in scout
    assert "Acknowledge" in page.text("#actions")
    assert "Read again" not in page.text("#actions")
    open_study(page, appliance, "not_flagged")
    page.wait_for("document.querySelector('#outcome').innerText.includes('not a negative result')")
    assert not page.text("#actions")


def test_images_by_slider_wheel_and_window(page: Chromium, appliance: Appliance) -> None:
    open_study(page, appliance, "flagged")
    image = "document.querySelector('.viewer img')"
    page.wait_for(f"{image}?.complete && {image}.naturalWidth > 0")
    first = page.evaluate(f"{image}.src")
    assert "window=lung" in first
    assert "heat=yes" in first
    assert [page.text(f".mark.{side}") for side in ("left", "right", "top", "bottom")] == ["R", "L", "A", "P"]
    assert "As the model saw it: 5 mm slices" in page.text(".viewer figcaption")

    at = page.evaluate("Number(document.querySelector('.viewer [type=range]').value)")
    page.evaluate("document.querySelector('.viewer [type=range]').focus()")
    page.press("ArrowRight")
    assert page.text(".where").startswith(f"Slice {at + 1} of ")
    page.turn_wheel(".frame-of-image", 100)
    page.wait_for(f"document.querySelector('.where').innerText.startsWith('Slice {at} of ')")
    assert page.evaluate(f"{image}.src") == first

    page.click(".viewer [value=bone]")
    page.click(".viewer [type=checkbox]")
    page.wait_for(f"{image}.src.includes('window=bone') && {image}.src.includes('heat=no')")
    page.wait_for(f"{image}.complete && {image}.naturalWidth > 0")
    assert "bone window" in page.evaluate(f"{image}.alt")
    assert page.evaluate("document.querySelector('.missing').hidden")


def test_acknowledged_with_a_name_and_taken_back(page: Chromium, appliance: Appliance) -> None:
    open_study(page, appliance, "flagged")
    page.wait_for(f"{STATE} === 'SUSPECT'")
    page.click("[data-action=acknowledge]")
    page.wait_for("document.querySelector('#who').open")
    for _ in range(6):
        page.press("Tab")
        assert page.evaluate("document.activeElement.matches('body, #who *')")
    page.evaluate("document.querySelector('#who input').focus()")
    page.type("Nobody")
    page.press("Escape")
    page.wait_for("document.activeElement.dataset.action === 'acknowledge'")
    assert page.evaluate("document.body.dataset.view") == "study"
    assert appliance.status()["counts"]["suspect"] == 1

    named(page, "acknowledge", "Ada Example")
    page.wait_for(f"document.querySelector('#said').innerText === 'Acknowledged.' && {STATE} !== 'SUSPECT'")
    assert "not acknowledged" not in page.text("#outcome")
    assert "acknowledged by Ada Example" in page.text("#outcome")
    assert appliance.status()["counts"]["suspect"] == 0
    assert page.text("#actions") == "Take back the acknowledgement"
    page.click("[data-action=take-back]")
    page.wait_for("document.querySelector('#who').open")
    assert page.evaluate("document.activeElement.value") == "Ada Example"
    page.press("Enter")
    page.wait_for(f"{STATE} === 'SUSPECT'")
    assert not page.evaluate("document.body.classList.contains('alert')")
    marks = page.text("#people").splitlines()
    assert [mark.rpartition(",")[0] for mark in marks[-2:]] == [
        "Acknowledged by Ada Example",
        "Acknowledgement taken back by Ada Example",
    ]


@pytest.mark.parametrize("outcome", ["not_analysed", "failed"])
def test_what_was_not_read_is_marked_as_seen_and_not_seen(
    page: Chromium, appliance: Appliance, outcome: str
) -> None:
    open_study(page, appliance, outcome)
    box = f"document.querySelector('[data-count={outcome}] dd').innerText"
    page.wait_for(f"{box} === '1'")
    named(page, "seen", "Ada Example")
    page.wait_for(f"{box} === '0'")
    page.wait_for("document.querySelector('#outcome').innerText.includes('seen by Ada Example')")
    named(page, "unseen", "Ada Example")
    page.wait_for(f"{box} === '1'")


def test_what_was_not_read_is_read_again(page: Chromium, appliance: Appliance) -> None:
    open_study(page, appliance, "not_analysed")
    named(page, "retry", "Ada Example")
    page.wait_for("document.querySelector('#said').innerText === 'It is read again.'")
    page.wait_for("document.querySelector('#people').innerText.includes('read again by Ada Example')")
    appliance.wait("it has ended again", lambda: not appliance.status()["in_progress"])


def test_an_action_that_comes_too_late_is_refused_in_a_sentence(page: Chromium, appliance: Appliance) -> None:
    number = open_study(page, appliance, "flagged")
    page.click("[data-action=acknowledge]")
    page.wait_for("document.querySelector('#who').open")

    def tell(action: str) -> None:
        there = f"{appliance.url}/api/studies/{number}/{action}"
        httpx.post(there, json={"name": "Bob Example"}, headers={"X-Scanlight": "1"}).raise_for_status()

    tell("acknowledge")
    try:
        page.evaluate("document.activeElement.select()")
        page.type("Ada Example")
        page.press("Enter")
        page.wait_for("document.querySelector('#said').innerText.includes('No flag of this study waits')")
        page.wait_for("document.querySelector('#outcome').innerText.includes('Bob Example')")
        page.evaluate("new Promise((done) => setTimeout(done, 3200))")
    finally:
        tell("take-back")
    page.wait_for("document.querySelector('#said').innerText === ''")


def test_a_study_that_is_not_there(page: Chromium) -> None:
    page.evaluate("location.hash = '#study/4000'")
    page.wait_for("document.querySelector('#trouble').innerText === 'There is no study with this number.'")
    assert page.evaluate("document.querySelector('#study').hidden")


def test_a_study_is_seen_whole_and_by_everybody(page: Chromium, appliance: Appliance) -> None:
    open_study(page, appliance, "flagged")
    page.wait_for("document.querySelector('.viewer img')?.naturalWidth > 0")
    look_at(page, "study")
    page.click("[data-action=acknowledge]")
    page.wait_for("document.querySelector('#who').open")
    look_at(page, "name")


def test_no_view_names_a_patient(page: Chromium, appliance: Appliance) -> None:
    for outcome in ("flagged", "not_analysed", "failed"):
        open_study(page, appliance, outcome)
        everything = page.evaluate("document.documentElement.outerHTML")
        everything += page.evaluate("performance.getEntriesByType('resource').map(one => one.name).join()")
        assert not [
            text for text in (PATIENT, "ACC000", "broken", "1.2.826", "1.2.840") if text in everything
        ]
