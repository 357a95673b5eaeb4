"""Live events as browsers get them, from a real server."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nginx import Nginx
from openssl import make_certificate, trusting
from sample_facts import ready
from sample_journal import LiveBoard, record_end
from served import Served, died

from appliance.facts import InProgress
from appliance.journal import Journal
from appliance.reasons import Outcome
from appliance.shown import Shown
from appliance.web import events
from appliance.web.access import Access
from appliance.web.app import create_app

SOON_S = 5.0
OF_B = "1.2.826.0.1.999999"


class Watching:
    """A connection to `/events`."""

    def __init__(self, stream: httpx.Response) -> None:
        self.stream = stream
        self._lines = stream.iter_lines()

    def next(self) -> dict[str, Any]:
        """The next status."""
        assert next(line for line in self._lines if line and not line.startswith("retry")) == "event: status"
        body: dict[str, Any] = json.loads(next(self._lines).removeprefix("data: "))
        assert next(self._lines) == ""
        return body

    def until(self, **values: object) -> dict[str, Any]:
        """The first status that is so."""
        end = time.monotonic() + SOON_S
        while time.monotonic() < end:
            status = self.next()
            if all(status[key] == value for key, value in values.items()):
                return status
        raise AssertionError(f"no status is {values}")


@contextlib.contextmanager
def watching(server: Served, query: str = "") -> Iterator[Watching]:
    with httpx.stream("GET", f"{server.url}events{query}", timeout=SOON_S) as stream:
        assert stream.status_code == 200
        yield Watching(stream)


def test_the_status_comes_at_once_when_it_changes_and_every_second(server: Served, board: LiveBoard) -> None:
    with watching(server) as watch:
        first = watch.next()
        assert first == httpx.get(f"{server.url}api/status").json()
        board.publish(newest_alarm=4, suspect=1)
        assert watch.until(state="suspect")["newest_alarm"] == 4
        # Nothing changes any more.
        for _ in range(3):
            began = time.monotonic()
            assert watch.next()["state"] == "suspect"
            assert time.monotonic() - began < SOON_S


def test_it_is_a_stream_that_nobody_keeps_or_collects(server: Served) -> None:
    with watching(server) as watch:
        headers = watch.stream.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert headers["x-content-type-options"] == "nosniff"
    head = httpx.head(f"{server.url}events", timeout=SOON_S)
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


def test_one_scanner_is_watched_alone(server: Served, board: LiveBoard, journal: Journal) -> None:
    mine, other = (InProgress("1.9", 4, "waiting", "2026-03-01T08:00:00.000Z", 1, one) for one in ("A", "B"))
    board.publish(in_progress=(mine, other, other))
    for series, station in (("1.9", "A"), (OF_B, "B")):
        journal.series(series, f"{series}.0", shown=Shown(station))
    with watching(server, "?station=A") as watch, watching(server) as whole:
        before = watch.next()["counts"]
        assert before["in_progress"] == 1
        assert whole.next()["counts"]["in_progress"] == 3
        record_end(journal, OF_B, Outcome.FLAGGED, None, 0.9)
        board.publish(suspect=1, in_progress=())
        whole.until(state="suspect")
        while (after := watch.next()["counts"])["in_progress"]:
            pass
        assert after["suspect"] == before["suspect"]


def test_those_above_the_limit_are_told_so_until_one_leaves(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST", 2)
    with watching(server), watching(server) as second:
        answer = httpx.get(f"{server.url}events")
        assert answer.status_code == 503
        assert answer.json()["error"].startswith("64 pages watch already")
        assert httpx.get(f"{server.url}api/status").status_code == 200
        second.stream.close()
        end = time.monotonic() + SOON_S
        while time.monotonic() < end:
            with httpx.stream("GET", f"{server.url}events") as third:
                if third.status_code == 200:
                    return
            time.sleep(0.1)
    raise AssertionError("nobody was let in")


def test_who_takes_nothing_is_let_go(
    board: LiveBoard, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SLOW_S", 0.5)
    monkeypatch.setattr(events, "MOST", 1)
    many = tuple(InProgress(f"1.{n}", 1, "waiting", "2026", n, "", "x" * 900) for n in range(2000))
    board.publish(in_progress=many)
    server = Served(create_app(board, journal.path, died))
    server.start()
    try:
        with socket.create_connection((server.host, server.port)) as lazy:
            lazy.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert lazy.recv(10).startswith(b"HTTP/1.1 2")
            end = time.monotonic() + 30
            while time.monotonic() < end:
                with httpx.stream("GET", f"{server.url}events") as other:
                    if other.status_code == 200:
                        return
                time.sleep(0.2)
        raise AssertionError("it still holds the only place")
    finally:
        server.stop()


def test_events_come_through_a_proxy_one_by_one(board: LiveBoard, journal: Journal, tmp_path: Path) -> None:
    access = Access(hosts=frozenset({"localhost"}), user_header="X-Remote-User")
    server = Served(create_app(board, journal.path, died, access=access))
    server.start()
    certificate, key = make_certificate(tmp_path)
    nginx = Nginx(tmp_path, certificate, key, server.url, {"grey": "secret"})
    try:
        asking = {"auth": ("grey", "secret"), "verify": trusting(certificate), "timeout": SOON_S}
        with httpx.stream("GET", f"{nginx.url}/events", **asking) as stream:
            watch = Watching(stream)
            assert watch.next()["state"] == "ready"
            board.publish(suspect=1)
            watch.until(state="suspect")
    finally:
        nginx.stop()
        server.stop()


def test_those_who_watch_do_not_hold_up_the_end(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    with watching(server) as watch:
        watch.next()
        server.ask_to_stop()
        for _ in watch._lines:
            pass  # what was told before
    server.join(5)
    assert not server._thread.is_alive()
    # Nobody had to be thrown out.
    assert "exceeded" not in caplog.text


def test_a_journal_that_cannot_be_read_ends_one_scanners_events(
    board: LiveBoard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Served(create_app(LiveBoard(ready()), tmp_path / "none.db", died))
    server.start()
    try:
        with pytest.raises((httpx.RemoteProtocolError, StopIteration)), watching(server, "?station=A") as one:
            one.next()
        with watching(server) as whole:
            assert whole.next()["state"] == "ready"
    finally:
        server.stop()
    assert "request_failed" in caplog.text
