from __future__ import annotations

import logging
import signal
import socket
import threading

import httpx
import pytest
from served import Served
from starlette.applications import Starlette

from appliance.web.server import WebError


def test_a_port_in_use_is_one_sentence_before_anything_starts() -> None:
    first = Served(Starlette(), "127.0.0.1", 0)
    try:
        with pytest.raises(WebError) as caught:
            Served(Starlette(), "127.0.0.1", first.port)
    finally:
        first.stop()
    assert str(caught.value) == (
        f"Port {first.port} on 127.0.0.1 is in use by another program: stop it, or choose another port."
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "2001:db8::1"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(WebError, match=r"cannot be opened \(.+\): choose an address of this machine\.$"):
        Served(Starlette(), host, 0)


def test_answers_when_start_returns_and_the_port_is_free_after_stop(server: Served) -> None:
    assert httpx.get(server.url + "healthz").status_code == 200
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url + "healthz")
    socket.create_server(("127.0.0.1", server.port)).close()
    assert "web" not in [thread.name for thread in threading.enumerate()]


def test_stops_while_a_client_keeps_its_connection(server: Served, client: httpx.Client) -> None:
    assert client.get("/healthz").status_code == 200
    server.stop()
    assert not server._thread.is_alive()


def test_signals_stay_with_the_main_thread() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    server = Served(Starlette(), "127.0.0.1", 0)
    server.start()
    try:
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    finally:
        server.stop()


def test_requests_are_not_logged(
    server: Served, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client.get("/api/series?limit=1&JANE-DOE")
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"JANE-DOE\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 400")
    ours = [entry for entry in caplog.records if not entry.name.startswith(("httpx", "httpcore"))]
    assert "Invalid HTTP request received." in [entry.getMessage() for entry in ours]
    assert not [entry for entry in ours if "JANE" in entry.getMessage()]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_application_that_does_not_start_is_an_error_in_both_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(scope: object, receive: object, send: object) -> None:
        raise RuntimeError("broken")

    deaths: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", deaths.append)
    server = Served(broken, "127.0.0.1", 0)
    with pytest.raises(WebError, match="does not start"):
        server.start()
    server.stop()
    assert [death.exc_type for death in deaths] == [WebError]


def test_ipv6() -> None:
    try:
        server = Served(Starlette(), "::1", 0)
    except WebError:
        pytest.skip("this machine has no IPv6 loopback")
    server.start()
    try:
        assert server.url == f"http://[::1]:{server.port}/"
        assert httpx.get(server.url).status_code == 404
    finally:
        server.stop()
