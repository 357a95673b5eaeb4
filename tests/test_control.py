"""Asking a daemon over its socket: the real web server, the real client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_facts import READY
from served import died

from appliance import control
from appliance.facts import Board
from appliance.journal import Journal
from appliance.web.app import create_app
from appliance.web.server import WebServer, unix


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder whose path is longer than a socket's address may be."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    return folder


@pytest.fixture
def asked() -> list[control.Retry]:
    return []


@pytest.fixture
def socket(folder: Path, asked: list[control.Retry]) -> Iterator[Path]:
    def command(retry: control.Command) -> None:
        asked.append(retry)
        # As the main loop does: in another thread, a little later.
        threading.Timer(0.05, retry.done.set_result, [len(retry.subjects)]).start()

    journal = Journal(folder / "journal.db")
    path = folder / "control.sock"
    server = WebServer(
        create_app(Board(READY), journal.path, died, command=command, private=True), unix(path)
    )
    server.start()
    yield path
    server.ask_to_stop()
    server.join(5)


def test_what_is_asked_for_arrives_and_is_answered(socket: Path, asked: list[control.Retry]) -> None:
    assert control.retry(socket, ["1.2.3", "bad \udcff.dcm"], "root") == 2
    assert [(one.subjects, one.name) for one in asked] == [(("1.2.3", "bad \udcff.dcm"), "root")]


def test_only_its_owner_and_group_may_ask(socket: Path) -> None:
    assert socket.stat().st_mode & 0o777 == 0o660


def test_a_socket_that_nobody_serves_is_no_daemon(folder: Path, socket: Path) -> None:
    with pytest.raises(control.NoDaemon):
        control.retry(folder / "missing.sock", [], "root")
    left = folder / "left.sock"
    unix(left).close()
    with pytest.raises(control.NoDaemon):
        control.retry(left, [], "root")


def test_a_refusal_has_a_sentence(socket: Path) -> None:
    connection = control._Connection(socket, 10)
    connection.request("POST", "/api/retry", "[]")
    response = connection.getresponse()
    assert (response.status, b"Expected" in response.read()) == (400, True)
    connection.close()


def test_the_page_of_the_network_takes_no_names_of_files(folder: Path) -> None:
    journal = Journal(folder / "journal.db")
    path = folder / "page.sock"
    server = WebServer(create_app(Board(READY), journal.path, died, command=lambda _: None), unix(path))
    server.start()
    with pytest.raises(control.Refused):
        control.retry(path, ["1.2.3"], "root")
    server.ask_to_stop()
    server.join(5)
