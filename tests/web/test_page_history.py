"""The history on the page of a real daemon."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import Chromium, needs_chromium
from harness import Appliance
from screens import look_at
from ward import OTHER_STATION, STATION

pytestmark = [pytest.mark.slow, needs_chromium]

ROWS = "[...document.querySelectorAll('#past tbody tr')].map(row => row.dataset.outcome).sort().join()"
ALL = "failed,flagged,not_analysed,not_flagged"


@pytest.fixture
def page(browser: Chromium, appliance: Appliance) -> Chromium:
    browser.look(1920, 1080)
    browser.open(f"{appliance.url}/#history")
    browser.wait_for(f"{ROWS} === '{ALL}'")
    return browser


def choose(page: Chromium, name: str, value: str) -> None:
    page.evaluate(
        f"(() => {{ const one = document.querySelector('#filters').elements[{name!r}]; one.value = {value!r};"
        " one.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def test_filters_are_in_the_address_and_come_back_with_it(page: Chromium, appliance: Appliance) -> None:
    choose(page, "outcome", "failed")
    page.wait_for(f"{ROWS} === 'failed'")
    assert page.evaluate("location.hash") == "#history?outcome=failed"
    assert page.text("#how-many") == "1 study"
    page.evaluate("history.back()")
    page.wait_for(f"{ROWS} === '{ALL}'")
    assert page.evaluate("document.querySelector('#filters').elements.outcome.value") == ""
    page.open(f"{appliance.url}/?#history?open=yes")
    page.wait_for(f"{ROWS} === 'failed,flagged,not_analysed'")
    assert page.evaluate("document.querySelector('#filters').elements.open.checked")
    page.click("#filters [type=reset]")
    page.wait_for(f"{ROWS} === '{ALL}'")


def test_days_are_those_of_the_screen(page: Chromium) -> None:
    today, tomorrow = page.evaluate(
        "[0, 1].map(days => { const d = new Date(Date.now() + days * 864e5);"
        " return new Date(d - d.getTimezoneOffset() * 6e4).toISOString().slice(0, 10); })"
    )
    choose(page, "from", tomorrow)
    page.wait_for("document.querySelector('#how-many').innerText === 'No study is like this.'")
    choose(page, "from", today)
    choose(page, "to", today)
    page.wait_for(f"{ROWS} === '{ALL}'")


def test_a_day_may_be_typed_as_slowly_as_one_likes(page: Chromium) -> None:
    page.evaluate("document.querySelector('#filters').elements.from.focus()")
    for key in ("0", "2", "0", "3"):
        page.press(key)
        page.evaluate("new Promise((done) => setTimeout(done, 900))")
    for key in "2026":
        page.press(key)
    page.wait_for("/from=2026-0[23]-0[23]/.test(location.hash)")


def test_the_counts_lead_to_what_nobody_has_looked_at(page: Chromium, appliance: Appliance) -> None:
    page.open(appliance.url)
    page.wait_for("document.querySelector('#counts dd')?.innerText === '1'")
    page.click("[data-count=suspect] a")
    page.wait_for(f"{ROWS} === 'failed,flagged,not_analysed'")
    assert page.evaluate("document.activeElement.id") == "history-title"


def test_pages_go_on_where_the_one_before_ended(page: Chromium, appliance: Appliance) -> None:
    page.open(f"{appliance.url}/?#history?limit=2")
    page.wait_for("document.querySelectorAll('#past tbody tr').length === 2")
    first = page.evaluate("[...document.querySelectorAll('#past tbody a')].map(one => one.hash)")
    page.click("#pages a")
    page.wait_for("document.querySelector('#pages a').innerText === 'Newest'")
    second = page.evaluate("[...document.querySelectorAll('#past tbody a')].map(one => one.hash)")
    assert len({*first, *second}) == 4
    assert page.evaluate("document.querySelectorAll('#pages a').length") == 1


@pytest.mark.parametrize(
    ("station", "outcomes", "state"),
    [
        (STATION, "failed,flagged,not_analysed", "SUSPECT"),
        (OTHER_STATION, "failed,not_flagged", "NOT ANALYSED"),
        ("NOWHERE", "failed", "FAULT"),
    ],
)
def test_a_view_of_one_scanner(
    page: Chromium, appliance: Appliance, station: str, outcomes: str, state: str
) -> None:
    """The damaged file names no scanner, so that it is in every view; one that nobody knows is a fault."""
    page.open(f"{appliance.url}/?station={station}#history")
    page.wait_for(f"document.querySelector('#limited')?.innerText.includes('{station}')")
    page.wait_for(f"document.querySelector('#light .state').innerText === {state!r}")
    page.wait_for(f"{ROWS} === '{outcomes}'")


def test_the_history_is_seen_whole_and_by_everybody(page: Chromium) -> None:
    look_at(page, "history")


def test_damaged_files_are_marked_as_seen_all_at_once(browser: Chromium, tmp_path: Path) -> None:
    with Appliance(tmp_path) as appliance:
        for number in range(3):
            (appliance.export_folder / f"{number}.dcm").write_bytes(bytes(128) + b"DICM" + bytes(9000))
        browser.open(f"{appliance.url}/#history")
        browser.wait_for("document.querySelector('[data-count=failed] dd')?.innerText === '3'")
        browser.wait_for("document.querySelector('#about-files').hidden === false")
        browser.click("#files-seen")
        browser.wait_for("document.querySelector('#who').open")
        browser.type("Ada Example")
        browser.press("Enter")
        browser.wait_for("document.querySelector('#files-said').innerText === '3 files marked as seen.'")
        browser.wait_for("document.querySelector('[data-count=failed] dd').innerText === '0'")
        browser.wait_for("document.querySelector('#files-seen').hidden")
