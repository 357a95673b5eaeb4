"""Files that this process may open: as many as it is allowed, and what happens when there are none left."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import open_files
from appliance.journal import Journal
from appliance.state_disk import StateDisk


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def soft() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_as_many_as_the_administrator_allows(limits: tuple[int, int]) -> None:
    hard = limits[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    open_files.allow_many()
    assert soft() == (open_files.MOST if hard == resource.RLIM_INFINITY else min(hard, open_files.MOST))
    open_files.allow_many()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard


def test_not_more_than_are_of_use(limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    monkeypatch.setattr(open_files, "MOST", 2048)
    open_files.allow_many()
    assert soft() == 2048


def test_what_is_written_while_none_is_left_waits_for_one(tmp_path: Path, limits: tuple[int, int]) -> None:
    disk = StateDisk()
    journal = Journal(tmp_path / "journal.db", disk)
    waited = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    with contextlib.ExitStack() as taken:

        def let_go() -> None:
            waited.append(disk.failing)
            taken.close()

        disk.while_waiting = let_go
        with contextlib.suppress(OSError):
            while True:
                taken.callback(os.close, os.dup(0))
        disk.write(tmp_path / "a", b"x")
        journal.series("1.2.3", "1.1")
    assert (tmp_path / "a").read_bytes() == b"x"
    assert (waited, disk.failing) == ([True], False)
