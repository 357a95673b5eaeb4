"""What arrived while the daemon was down: the newest is told of first, the oldest does not wait for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from harness import Appliance, uid_of

from tools.replay.restamp import Original, fresh_uid
from tools.scanner import export

SmallChest = Callable[[str], list[Path]]

pytestmark = pytest.mark.slow

STUDIES = 30
APART_S = 60


def test_a_backlog_drains_newest_first_and_its_oldest_are_told_while_new_ones_keep_coming(
    tmp_path: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path)
    backlog = arrive(small_chest("covid"), appliance.export_folder)
    with appliance:
        appliance.wait("a third is told of", lambda: len(told(appliance, backlog)) >= STUDIES // 3)
        with scanner(small_chest("covid")[0].parent, appliance) as live:
            appliance.wait("all are told of", lambda: len(told(appliance, backlog)) == STUDIES, 240)
            new_ones = len(appliance.findings()) - STUDIES
            assert live.poll() is None
            live.send_signal(signal.SIGINT)
            came = json.loads(live.communicate(timeout=240)[0])
    order = told(appliance, backlog)
    first = order[: STUDIES // 3]
    newest = set(range(2 * STUDIES // 3, STUDIES))
    # Three of the newest, then one of the oldest.
    assert len(newest.intersection(first)) >= STUDIES // 3 - 4, f"the newest come first: {order}"
    assert order.index(0) < order.index(STUDIES // 2), f"the oldest does not come last: {order}"
    assert new_ones >= STUDIES // 3, "new ones were told of meanwhile"
    assert (came["conservation_error"], came["told_studies"]) == (0, came["studies"])


def arrive(chest: list[Path], export_folder: Path) -> dict[str, int]:
    """Studies of the last half hour, one a minute; their numbers, from the oldest on, by series UID."""
    originals = [Original.of(path) for path in chest]
    now = time.time()
    for number in range(STUDIES):
        contents = [one.stamped(partial(fresh_uid, salt=f"{number}")) for one in originals]
        written_at = now - APART_S * (STUDIES - number)
        for path in export(contents, export_folder / f"study{number}", None):
            os.utime(path, (written_at, written_at))
    return {fresh_uid(uid_of(chest[0]).encode(), f"{number}").decode(): number for number in range(STUDIES)}


def told(appliance: Appliance, numbers: dict[str, int]) -> list[int]:
    """The studies of the backlog that were told of, in that order."""
    return [numbers[one["series_uid"]] for one in appliance.findings() if one["series_uid"] in numbers]


@contextmanager
def scanner(source: Path, appliance: Appliance) -> Iterator[subprocess.Popen[str]]:
    """Exports as many studies as the appliance takes; after Ctrl-C it waits for the last results."""
    command = [sys.executable, "-m", "appliance", "replay", "--json", "--hours", "1"]
    folders = ["--source", source, "--into", appliance.export_folder, "--results", appliance.results]
    with subprocess.Popen([*command, *map(str, folders)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
