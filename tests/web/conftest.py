from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from chromium import PROGRAM, Chromium
from harness import Appliance
from sample_facts import ready
from sample_journal import ENDED, IN_FLIGHT, LiveBoard, record_end
from served import Served, died
from ward import ward

from appliance.journal import Journal
from appliance.web.app import create_app


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Five series that ended, oldest first, and two in flight."""
    journal = Journal(tmp_path / "journal.db")
    for ended in ENDED:
        record_end(journal, *ended)
    for uid in IN_FLIGHT:
        journal.series(uid, "1.2.826.0.2")
    yield journal
    journal.close()


@pytest.fixture
def board() -> LiveBoard:
    return LiveBoard(ready())


@pytest.fixture
def server(board: LiveBoard, journal: Journal) -> Iterator[Served]:
    server = Served(create_app(board, journal.path, died), "127.0.0.1", 0)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=10) as client:
        yield client


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    browser = Chromium(PROGRAM, tmp_path / "profile")
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A daemon that has read one study of each kind, for all tests of its page: they leave it as it was."""
    with ward(tmp_path_factory.mktemp("ward")) as appliance:
        yield appliance
