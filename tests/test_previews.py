"""The thread that keeps images, on real folders and a real disk that is full."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from file_systems import mount, unmount

from appliance import previews
from appliance.findings.preview import Preview
from appliance.findings.record import SeriesRecord
from appliance.previews import Previews, preview_path
from appliance.reading import Reading
from appliance.reasons import Outcome
from appliance.records import Volume
from engines.protocol import Score

SOON_S = 10.0

Start = Callable[..., Previews]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Previews] = []

    def start(folder: Path = tmp_path, keep_days: int = 30) -> Previews:
        running.append(Previews(folder, keep_days))
        running[-1].start()
        return running[-1]

    yield start
    for one in running:
        one.stop()
        one.join(SOON_S)
        assert not one.is_alive()


def reading(size: tuple[int, int, int] = (4, 8, 8), *, noise: bool = False) -> Reading:
    hu = np.random.default_rng(1).normal(0, 9000, size) if noise else np.zeros(size)
    volume = Volume(hu.astype(np.float32), (5.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    score = Score(0.9, np.ones((2, 2, 2), np.float32), {})
    return Reading(Outcome.FLAGGED, None, None, volume, score, {})


def record(key: str, supersedes: str | None = None) -> SeriesRecord:
    return SeriesRecord(reading_key=key, supersedes=supersedes)


def wait(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_the_images_of_a_reading_are_kept_in_place_of_those_before(start: Start, tmp_path: Path) -> None:
    keeper = start()
    keeper.keep(record("a"), reading())
    wait("they are there", preview_path(tmp_path, "a").exists)
    assert Preview.open(preview_path(tmp_path, "a")).highest == 1.0
    assert preview_path(tmp_path, "a").stat().st_mode & 0o777 == 0o640
    keeper.keep(record("b", "a"), reading())
    wait("the new ones are there", preview_path(tmp_path, "b").exists)
    assert not preview_path(tmp_path, "a").exists()
    # What was not scored has none, and those before are not its own.
    unread = Reading(Outcome.NOT_ANALYSED, None, None, None, None, {})
    keeper.keep(record("c", "b"), unread)
    wait("the old ones are gone", lambda: not list(tmp_path.iterdir()))


def test_old_ones_go_and_so_do_all_when_none_are_wanted(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "TIDY_S", 0.1)
    now = time.time()
    for age in (1, 29, 31, 400):
        path = preview_path(tmp_path, f"{age}")
        path.write_bytes(b"x")
        os.utime(path, (now, now - age * 86400))
    (tmp_path / "something else").touch()
    keeper = start()
    wait("two are left", lambda: {one.stem for one in tmp_path.glob("*.zip")} == {"1", "29"})
    keeper.keep_days = 0
    wait("none is left", lambda: not list(tmp_path.glob("*.zip")))
    keeper.keep(record("a"), reading())
    time.sleep(0.3)
    assert [one.name for one in tmp_path.iterdir()] == ["something else"]


def test_nobody_waits_for_images_and_few_volumes_are_held(tmp_path: Path) -> None:
    # Its thread does not run.
    keeper = Previews(tmp_path, 30)
    for number in range(100):
        keeper.keep(record(f"{number}"), reading())
    assert keeper._tasks.qsize() == previews.WAITING


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", folder)
    yield folder
    unmount(folder, "--lazy")


def test_the_oldest_make_room_on_a_disk_that_is_nearly_full(start: Start, small_disk: Path) -> None:
    keeper = start(small_disk)
    for number in range(12):
        keeper.keep(record(f"{number:02}"), reading((40, 80, 80), noise=True))
        wait("it is there", preview_path(small_disk, f"{number:02}").exists)
    kept = sorted(one.stem for one in small_disk.glob("*.zip"))
    assert kept == [f"{number:02}" for number in range(12)][-len(kept) :]
    assert 1 <= len(kept) < 12


def test_a_disk_that_others_have_filled_costs_the_image_alone_and_is_told_once(
    start: Start, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "scanlight")
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(5 * 2**20))
    keeper = start(small_disk)
    for number in range(3):
        keeper.keep(record(f"{number}"), reading())
    wait("all were tried", lambda: keeper._tasks.empty() and "images_not_kept" in caplog.text)
    assert not list(small_disk.glob(".*")) + list(small_disk.glob("*.zip"))
    assert keeper.is_alive()
    filler.unlink()
    keeper.keep(record("later"), reading())
    wait("it is there", preview_path(small_disk, "later").exists)
    assert caplog.text.count("images_not_kept") == 1
