from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from sample_facts import ready
from sample_journal import ENDED, IN_FLIGHT, PATIENT_FILE, LiveBoard, record_end
from served import Served, died

from appliance.facts import Board, InProgress
from appliance.findings.record import SeriesRecord
from appliance.journal import Event, Journal
from appliance.light import FAULTS
from appliance.reasons import RULES, Outcome
from appliance.web.app import create_app, create_metrics_app
from appliance.web.assets import page
from appliance.web.status import NOTICES

PATHS = (
    "/",
    "/page.css",
    "/page.js",
    "/icon.svg",
    "/api/status",
    "/api/series",
    "/api/studies",
    "/api/studies/1",
    "/api/codes",
    "/healthz",
    "/readyz",
    "/metrics",
)


def test_the_status_has_the_keys_of_the_interface(client: httpx.Client, board: LiveBoard) -> None:
    series = InProgress("1.2.840.999", 40, "waiting", "2026-03-01T08:00:00.000Z", 7, "CT-A", "…1234")
    model = replace(board.facts.model, intended_use="placeholder")
    board.publish(suspect=1, failed=2, in_progress=(series,), model=model, not_accepted=("never_accepted",))
    status = client.get("/api/status").json()
    assert status["state"] == "suspect"
    assert status["why"] == []
    assert status["counts"] == {"suspect": 1, "not_analysed": 0, "failed": 2, "in_progress": 1}
    assert status["bands"] == ["DEMO", "NOT ACCEPTED"]
    assert status["in_progress"] == [
        {
            "series": "40.999",
            "study": 7,
            "label": "…1234",
            "seen": 40,
            "stage": "waiting",
            "since": "2026-03-01T08:00:00.000Z",
        }
    ]
    assert status["facts"]["model"]["engine"]["runner"] == "onnxruntime"
    assert status["facts"]["rescan_limit_s"] == 30.0
    assert status["version"] == version("scanlight")


def test_a_fault_says_why(client: httpx.Client, board: LiveBoard) -> None:
    board.publish(folder_up=False, faults=("state_disk",))
    status = client.get("/api/status").json()
    assert (status["state"], status["why"]) == ("fault", ["export_folder_down", "state_disk"])


def test_since_is_when_the_state_began_though_nobody_asked(client: httpx.Client, board: LiveBoard) -> None:
    assert client.get("/api/status").json()["since"] == "2026-03-01T08:00:00.000Z"
    board.publish(published_at="2026-03-01T08:01:00.000Z")
    assert client.get("/api/status").json()["since"] == "2026-03-01T08:00:00.000Z"
    board.publish(published_at="2026-03-01T08:02:00.000Z", folder_up=False)
    time.sleep(1)
    board.publish(published_at="2026-03-01T08:03:00.000Z")
    assert client.get("/api/status").json()["since"] == "2026-03-01T08:02:00.000Z"


def test_series_are_the_records_newest_first_in_flight_before_all(client: httpx.Client) -> None:
    records = client.get("/api/series").json()
    assert [one["series_uid"] for one in records] == [
        *reversed(IN_FLIGHT),
        *reversed([uid for uid, *_ in ENDED]),
    ]
    assert [one["in_flight"] for one in records] == [True] * 2 + [False] * 5
    assert [one["outcome"] for one in records[:3]] == [None, None, "failed"]
    for one in records:
        assert list(one) == list(SeriesRecord().as_dict())
        assert (one["path"], one["detail"]) == (None, None)
    assert records[4]["probability"] == 0.4999


@pytest.mark.parametrize(
    ("query", "count"),
    [("limit=1", 1), ("limit=3", 3), ("limit=1000", 7), ("in_flight=no", 5), ("skipped=no", 6)],
)
def test_the_number_of_series(client: httpx.Client, query: str, count: int) -> None:
    assert len(client.get(f"/api/series?{query}").json()) == count


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=1001", "limit=x", "limit=", "limit=9²", "in_flight=x", "skipped="]
)
def test_a_wrong_query_is_told_what_is_right(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/series?{query}")
    assert answer.status_code == 400
    assert re.fullmatch(
        r"(limit must be a whole number from 1 to 1000|(in_flight|skipped) must be yes or no)\.",
        answer.json()["error"],
    )


def test_a_new_finding_is_there_at_once(client: httpx.Client, journal: Journal) -> None:
    assert len(client.get("/api/series?in_flight=no").json()) == 5
    record_end(journal, "1.2.826.0.1.999999", Outcome.FLAGGED, None, 0.9)
    newest = client.get("/api/series?in_flight=no").json()[0]
    assert (newest["series_uid"], newest["outcome"]) == ("1.2.826.0.1.999999", "flagged")


def test_every_code_has_a_sentence(client: httpx.Client) -> None:
    codes = client.get("/api/codes").json()
    assert codes["reasons"] == {str(reason): rule.sentence for reason, rule in RULES.items()}
    assert codes["faults"] == FAULTS
    assert codes["notices"] == NOTICES


def test_healthy_and_ready(client: httpx.Client) -> None:
    for path in ("/healthz", "/readyz"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"ok": True, "why": []})


def test_a_main_loop_that_hangs_is_neither_healthy_nor_ready_and_a_fault(
    board: LiveBoard, journal: Journal
) -> None:
    server = Served(create_app(board, journal.path, died, heartbeat_limit_s=0.3), "127.0.0.1", 0)
    server.start()
    try:
        board.publish()
        assert httpx.get(server.url + "healthz").status_code == 200
        time.sleep(0.5)
        for path in ("healthz", "readyz"):
            answer = httpx.get(server.url + path)
            assert (answer.status_code, answer.json()["why"]) == (503, ["main_loop_stalled"])
        status = httpx.get(server.url + "api/status").json()
        assert (status["state"], status["why"]) == ("fault", ["main_loop_stalled"])
        assert 'light_state{state="fault"} 1.0' in httpx.get(server.url + "metrics").text
        board.publish()
        assert httpx.get(server.url + "healthz").status_code == 200
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"folder_up": False}, ["export_folder_down"]),
        ({"known_answer_ok": None}, ["known_answers_pending"]),
        ({"known_answer_ok": False}, ["known_answers_failed"]),
        ({"folder_up": False, "known_answer_ok": False}, ["export_folder_down", "known_answers_failed"]),
    ],
)
def test_not_ready_says_why_and_is_still_healthy(
    client: httpx.Client, board: LiveBoard, changes: dict[str, object], why: list[str]
) -> None:
    board.publish(**changes)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ok": False, "why": why})
    assert client.get("/healthz").status_code == 200


def test_metrics_move_with_the_journal(client: httpx.Client, journal: Journal) -> None:
    line = 'scanlight_series_total{outcome="flagged",reason=""} '
    assert line + "1.0" in client.get("/metrics").text
    journal.add_files([], [Event("series", "flagged")])
    answer = client.get("/metrics")
    assert line + "2.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    wanted = {"accept": "application/openmetrics-text; version=1.0.0"}
    assert client.get("/metrics", headers=wanted).text.endswith("# EOF\n")


def test_metrics_hold_no_uid(client: httpx.Client) -> None:
    assert "1.2.826" not in client.get("/metrics").text


def test_the_metrics_address_serves_metrics_alone(board: LiveBoard, journal: Journal) -> None:
    server = Served(create_metrics_app(board, journal.path, died), "127.0.0.1", 0)
    server.start()
    try:
        assert "scanlight_light_state" in httpx.get(server.url + "metrics").text
        for path in set(PATHS) - {"/metrics"}:
            assert httpx.get(server.url + path[1:]).status_code == 404
    finally:
        server.stop()


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/api/series?limit=0"])
def test_every_answer_carries_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/JANE-DOE", "/api/status/", "/api/series/1.2.826.0.1", "/..%2fjournal.db"])
def test_an_unknown_path_gets_a_short_answer_without_it(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (404, {"error": "There is nothing at this address."})
    assert "location" not in answer.headers


def test_only_reading_is_allowed(client: httpx.Client) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, "/api/status").status_code == 405
    assert client.head("/").status_code == 200


def test_without_a_journal_the_state_is_still_told(
    board: LiveBoard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Served(create_app(board, tmp_path / "DOE^JANE.db", died), "127.0.0.1", 0)
    server.start()
    try:
        for path in ("api/series", "metrics"):
            answer = httpx.get(server.url + path)
            assert answer.status_code == 503
            assert answer.json() == {"error": "The journal cannot be read: see the log of the service."}
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert httpx.get(server.url + "api/status").json()["state"] == "ready"
        Journal(tmp_path / "DOE^JANE.db").close()
        assert httpx.get(server.url + "api/series").json() == []
    finally:
        server.stop()
    assert "request_failed" in caplog.text


def test_a_query_that_fails_is_no_end(client: httpx.Client, journal: Journal) -> None:
    journal._db.execute("ALTER TABLE total RENAME TO elsewhere")
    assert client.get("/metrics").status_code == 503
    assert client.get("/api/series").status_code == 200
    journal._db.execute("ALTER TABLE elsewhere RENAME TO total")
    assert client.get("/metrics").status_code == 200


def test_an_error_shows_and_logs_no_record(
    client: httpx.Client, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    broken = json.dumps({"series_uid": "1.2.3", "outcome": PATIENT_FILE})
    journal._db.execute("UPDATE finding SET record = ? WHERE id = 5", (broken,))
    answer = client.get("/api/series")
    assert answer.status_code == 500
    assert answer.json() == {"error": "An error inside Scanlight: see the log of the service."}
    assert client.get("/api/status").status_code == 200
    logged = [entry for entry in caplog.records if entry.name != "httpx"]
    assert [entry.getMessage() for entry in logged if entry.levelname == "ERROR"] == ["request_failed"]
    assert not [
        entry for entry in logged if PATIENT_FILE in entry.getMessage() or "/api/" in entry.getMessage()
    ]


def test_the_page_is_small_and_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    parts = {path: client.get(path) for path in page()}
    assert all(part.status_code == 200 for part in parts.values())
    assert sum(len(part.content) for part in parts.values()) < 200_000
    text = "".join(part.text for part in parts.values()).replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"(?m)^\s*//.*$", "", text)
    html = parts["/"].text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", html)
    assert parts["/"].headers["content-type"] == "text/html; charset=utf-8"
    assert parts["/page.js"].headers["content-type"].startswith("text/javascript")


def test_negative_is_only_said_of_what_no_flag_is_not(client: httpx.Client) -> None:
    text = "".join(client.get(path).text for path in {*page(), *PATHS} - {"/metrics"})
    said = re.findall(r"[^\"]*negative[^\"]*", text, re.IGNORECASE)
    assert said
    assert all(one.lower().startswith("no flag is not a negative result") for one in said)


def test_the_page_says_no_signal_until_it_has_heard_something(client: httpx.Client) -> None:
    html = client.get("/").text
    assert "NO SIGNAL" in html.split("<main>")[1].split("</section>")[0]
    assert "READY" not in html


def test_a_board_of_a_daemon_that_starts(journal: Journal) -> None:
    facts = ready(known_answer_ok=None, known_answer_at=None, rescan_age_s=None, rescan_at=None)
    server = Served(create_app(Board(facts), journal.path, died), "127.0.0.1", 0)
    server.start()
    try:
        assert httpx.get(server.url + "api/status").json()["state"] == "reading"
        assert httpx.get(server.url + "readyz").json()["why"] == ["known_answers_pending"]
    finally:
        server.stop()


def test_what_there_is_not_is_told_in_a_sentence(client: httpx.Client) -> None:
    nothing, wrong = client.get("/api/nothing"), client.delete("/api/status", headers={"X-Scanlight": "1"})
    assert (nothing.status_code, nothing.json()) == (404, {"error": "There is nothing at this address."})
    assert (wrong.status_code, wrong.json()) == (405, {"error": "This address takes no such request."})
    assert "GET" in wrong.headers["allow"]


def test_people_are_told_what_to_do_about_what_was_not_read(client: httpx.Client) -> None:
    remedies = client.get("/api/codes").json()["remedies"]
    assert remedies.keys() == {
        reason for reason, rule in RULES.items() if rule.outcome is not Outcome.SKIPPED
    }
