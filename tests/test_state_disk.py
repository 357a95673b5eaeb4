"""A disk that is really full, and takes it all when there is room again."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.findings.objects import ObjectStore
from appliance.journal import Journal
from appliance.state_disk import GivenUp, StateDisk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), b"\0" * size)
    return filler


def freed_by_and_by(disk: StateDisk, filler: Path) -> None:
    """Room is made as soon as somebody waits."""

    def make_room() -> None:
        assert disk.failing
        filler.unlink(missing_ok=True)

    disk.while_waiting = make_room


def test_an_object_waits_for_room_and_is_whole(small: Path) -> None:
    disk = StateDisk()
    freed_by_and_by(disk, fill(small))
    name = ObjectStore(small, disk).put(b"x" * 100_000, ".npz")
    assert (small / name).stat().st_size == 100_000
    assert not disk.failing
    assert [path.name for path in small.iterdir()] == [name], "nothing half written is left"


def test_a_transaction_waits_for_room_and_is_whole(small: Path) -> None:
    disk = StateDisk()
    journal = Journal(small / "journal.db", disk)
    rows = [f"1.2.{number}" for number in range(20)]
    for subject in rows[:10]:
        journal.series(subject, "1.1")
    freed_by_and_by(disk, fill(small))
    for subject in rows[10:]:
        journal.series(subject, "1.1" * 2000)
    assert not disk.failing
    assert [journal.series(subject, None).subject for subject in rows] == rows
    assert not (small / "filler").exists(), "the disk was full at least once"


def test_another_thread_waits_without_the_main_loop(small: Path) -> None:
    disk = StateDisk()
    disk.while_waiting = lambda: pytest.fail("only the main thread goes on while it waits")
    filler = fill(small)
    done = threading.Thread(target=lambda: disk.write(small / "a", b"x" * 5000))
    done.start()
    while not disk.failing:
        pass
    filler.unlink()
    done.join(10)
    assert (small / "a").stat().st_size == 5000


def test_a_write_that_finds_room_says_nothing_of_one_that_waits(small: Path) -> None:
    disk = StateDisk()
    filler = fill(small)
    waiting = threading.Thread(target=lambda: disk.write(small / "a", b"x" * 5000))
    waiting.start()
    while not disk.failing:
        pass
    disk.until_taken(lambda: None)
    assert disk.failing
    filler.unlink()
    waiting.join(10)
    assert not disk.failing


def test_who_stops_waits_for_nobody(small: Path) -> None:
    disk = StateDisk()
    fill(small)
    disk.while_waiting = disk.give_up
    with pytest.raises(GivenUp):
        disk.write(small / "a", b"x" * 5000)


def test_what_is_not_the_disks_fault_is_no_reason_to_wait(tmp_path: Path) -> None:
    disk = StateDisk()
    with pytest.raises(FileNotFoundError):
        disk.write(tmp_path / "missing" / "a", b"")
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        disk.until_taken(lambda: sqlite3.connect(":memory:").execute("SELEC 1"))
    assert not disk.failing
