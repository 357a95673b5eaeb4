"""Connections that only take room, as anybody who reaches the port can open them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from openssl import make_certificate, trusting
from served import Served
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from appliance.web.certificate import Certificate

MOST = 10
SILENCE_S = 1
SOON_S = 20.0
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 2**25


async def answer(_: Request) -> PlainTextResponse:
    return PlainTextResponse("here")


async def take(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def slow(_: Request) -> StreamingResponse:
    """Two parts, with more than the limit of silence between them."""

    async def parts() -> AsyncIterator[str]:
        yield "first "
        await asyncio.sleep(2.5 * SILENCE_S)
        yield "second"

    return StreamingResponse(parts())


async def large(_: Request) -> PlainTextResponse:
    return PlainTextResponse("x" * LARGE)


async def parts(_: Request) -> StreamingResponse:
    """As much, in parts: it is not at its end while the other side takes none."""
    return StreamingResponse("x" * 2**16 for _ in range(LARGE // 2**16))


APP = Starlette(
    routes=[
        Route("/", answer),
        Route("/take", take, methods=["POST"]),
        Route("/slow", slow),
        Route("/large", large),
        Route("/parts", parts),
    ]
)


@contextlib.contextmanager
def serving(certificate: Certificate | None = None, silence_s: int = SILENCE_S) -> Iterator[Served]:
    server = Served(APP, certificate=certificate, most=MOST, silence_s=silence_s)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server() -> Iterator[Served]:
    with serving() as server:
        yield server


@contextlib.contextmanager
def connections(server: Served, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((server.host, server.port), SOON_S))
            for _ in range(count)
        ]


def end(connection: socket.socket) -> bytes:
    """What is received until the other side closes; raises TimeoutError when it does not."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    return received


def wait(what: str, condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


def answers(server: Served, verify: object = True) -> bool:
    try:
        return httpx.get(server.url, timeout=SOON_S, verify=verify).text == "here"  # type: ignore[arg-type]
    except httpx.HTTPError:
        return False


def test_a_stopped_server_leaves_no_connection_open(tmp_path: Path) -> None:
    pair = make_certificate(tmp_path)
    with serving(Certificate(*pair), silence_s=600) as server, connections(server, 3) as open_ones:
        # One that has said nothing, one in the middle of TLS's handshake, one whose close nobody confirms.
        asked = trusting(pair[0]).wrap_socket(open_ones[2], server_hostname="localhost")
        asked.sendall(GET)
        assert asked.recv(65536)
        open_ones[1].sendall(b"\x16\x03\x01")
        server.stop()
        with socket.socket(fileno=asked.detach()) as third:
            third.settimeout(SOON_S)
            for connection in (*open_ones[:2], third):
                end(connection)


def test_silent_connections_are_closed_and_keep_nobody_out(server: Served) -> None:
    with connections(server, MOST) as silent:
        for connection in silent:
            assert end(connection) == b""
        assert answers(server)


def test_what_comes_while_all_places_are_taken_is_closed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "scanlight")
    with serving(silence_s=600) as server, connections(server, MOST) as silent:
        with connections(server, 30) as further:
            for connection in further:
                assert end(connection) == b""
        assert not answers(server)
        silent.pop().close()
        wait("a place that is free again is given away", lambda: answers(server))
        for connection in silent:
            connection.sendall(GET)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
    told = [entry.fields for entry in caplog.records if entry.getMessage() == "connections_refused"]  # type: ignore[attr-defined]
    assert told == [{"code": "TOO_MANY"}], "once, however many"


def test_over_tls_as_well_before_its_handshake(tmp_path: Path) -> None:
    pair = make_certificate(tmp_path)
    with serving(Certificate(*pair)) as server, connections(server, 3 * MOST) as silent:
        for connection in silent:
            assert end(connection) == b""
        assert answers(server, trusting(pair[0]))


def _refuses(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"x")
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("start", [b"", GET], ids=["first", "second"])
def test_a_request_that_comes_byte_by_byte_is_not_waited_for(server: Served, start: bytes) -> None:
    with connections(server, 1) as (connection,):
        connection.sendall(start + b"GET / HTTP/1.1\r\nX-Slow: ")
        wait("the server let it go", lambda: _refuses(connection))
        received = end(connection)
        assert received.count(b"here") == start.count(b"GET")


def test_a_body_that_does_not_come_is_not_waited_for(server: Served) -> None:
    with connections(server, 1) as (connection,):
        connection.sendall(b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n123")
        assert end(connection) == b""


@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"], ids=["kept", "closing"])
@pytest.mark.parametrize("path", [b"/large", b"/parts"])
def test_who_does_not_take_the_answer_is_let_go(server: Served, path: bytes, header: bytes) -> None:
    with connections(server, 1) as (connection,):
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n")
        assert connection.recv(1) == b"H"
        wait("the server let it go", lambda: not server._server.server_state.connections)
        assert len(end(connection)) < LARGE


def test_an_answer_may_take_longer_than_a_silence(server: Served) -> None:
    with connections(server, 1) as (connection,):
        connection.sendall(GET.replace(b"/", b"/slow", 1))
        assert b"second" in end(connection)


def test_a_connection_in_use_is_kept(server: Served) -> None:
    with connections(server, 1) as (connection,):
        for _ in range(6):
            connection.sendall(GET + GET)
            received = b""
            while received.count(b"here") < 2:
                received += connection.recv(1000)
            time.sleep(0.5 * SILENCE_S)


SERVE = """
import sys, time
from served import Served
from starlette.applications import Starlette
from appliance import logs
logs.configure("info")
server = Served(Starlette())
server.start()
print(server.port, flush=True)
sys.stdin.read()
"""


def test_no_more_files_is_one_line_in_the_log_and_passes(tmp_path: Path) -> None:
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("needs prlimit: apt-get install util-linux")
    log = tmp_path / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [prlimit, "--nofile=40:40", sys.executable, "-c", SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={"PYTHONPATH": f"{Path.cwd()}:{Path.cwd() / 'tests'}"},
        )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            wait("no file is left", lambda: "EMFILE" in log.read_text())
            time.sleep(2.5)
        wait("it answers", lambda: _status(port) == 404)
        assert log.read_text().count("\n") == 1
    finally:
        process.kill()
        process.communicate()


def _status(port: int) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code
    except httpx.HTTPError:
        return 0
