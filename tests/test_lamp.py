"""The lamp with real commands: those that work, fail, hang with children, and write without end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sample_facts import ready

from appliance.config import LampSettings
from appliance.facts import Board
from appliance.lamp import Lamp
from appliance.light import State
from appliance.web.status import Observer


class Site:
    """A command in a folder of its own, and a board that it is to follow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.board = Board(ready())
        self.told = folder / "told"

    def command(self, script: str, *more: str, name: str = "lamp") -> tuple[str, ...]:
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return (str(file), *more)

    @contextmanager
    def lamp(self, command: tuple[str, ...] | None, deadline_s: float = 5.0) -> Iterator[Lamp]:
        settings = None if command is None else LampSettings(command=command, deadline_s=deadline_s)
        observer = Observer(self.board, 60)
        lamp = Lamp(lambda: observer.look()[1], settings)
        lamp.start()
        try:
            yield lamp
        finally:
            lamp.stop()
            lamp.join(10)
            assert not lamp.is_alive()

    def lines(self) -> list[str]:
        return self.told.read_text().splitlines() if self.told.exists() else []


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def wait(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


TELL = 'echo "$*" "$SCANLIGHT_STATE" "$SCANLIGHT_SUSPECT" "$SCANLIGHT_NOT_ANALYSED" "$SCANLIGHT_FAILED"'


def test_a_lamp_is_told_the_state_at_the_start_at_each_change_and_at_the_end(site: Site) -> None:
    told = f'{TELL} "$SCANLIGHT_IN_PROGRESS" >>"{site.told}"'
    with site.lamp(site.command(told, "--port", "a b; c")) as lamp:
        wait(lambda: len(site.lines()) == 1)
        site.board.facts = ready(suspect=2, failed=1)
        wait(lambda: len(site.lines()) == 2)
        site.board.facts = ready(suspect=3, failed=1)
        wait(lambda: len(site.lines()) == 3)
        site.board.facts = ready(suspect=3, folder_up=False)
        wait(lambda: len(site.lines()) == 4)
        assert lamp.state == "ok"
    assert site.lines() == [
        "--port a b; c ready ready 0 0 0 0",
        "--port a b; c suspect suspect 2 0 1 0",
        "--port a b; c suspect suspect 3 0 1 0",
        "--port a b; c fault fault 3 0 0 0",
        "--port a b; c no_signal no_signal    ",
    ]


def test_without_a_change_it_is_told_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.lamp.REPEAT_S", 0.3)
    with site.lamp(site.command(f'echo "$1" >>"{site.told}"')):
        wait(lambda: len(site.lines()) >= 3)
    assert set(site.lines()[:3]) == {"ready"}


def test_a_loop_that_hangs_is_a_fault_for_the_lamp_too(site: Site) -> None:
    site.board.facts = ready(heartbeat=time.monotonic() - 61)
    with site.lamp(site.command(f'echo "$1" >>"{site.told}"')):
        wait(lambda: site.lines() == ["fault"])


@pytest.mark.parametrize("script", ["exit 3", "kill -9 $$"])
def test_a_command_that_fails_is_shown_and_run_again(
    site: Site, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.lamp.AGAIN_S", 0.2)
    mended = site.folder / "mended"
    with site.lamp(site.command(f'[ -e "{mended}" ] && exit 0\n{script}')) as lamp:
        wait(lambda: lamp.state == "failing")
        mended.touch()
        wait(lambda: lamp.state == "ok")


def test_a_command_that_is_not_there_or_no_program_is_shown(site: Site) -> None:
    text = site.folder / "text"
    text.write_text("no program\n")
    with site.lamp((str(site.folder / "missing"),)) as lamp:
        wait(lambda: lamp.state == "failing")
        lamp.use(LampSettings(command=site.command("exit 0")))
        wait(lambda: lamp.state == "ok")
        lamp.use(LampSettings(command=(str(text),)))
        wait(lambda: lamp.state == "failing")


def test_a_command_that_hangs_ends_with_its_children_at_its_deadline(site: Site) -> None:
    children = site.folder / "children"
    script = f"trap '' TERM\n(trap '' TERM; sleep 600) &\necho $! $$ >\"{children}\"\nwait"
    with site.lamp(site.command(script), deadline_s=0.5) as lamp:
        wait(lambda: lamp.state == "failing")
        for pid in map(int, children.read_text().split()):
            wait(lambda pid=pid: not is_alive(pid))


def test_what_a_command_leaves_behind_ends_with_it(site: Site) -> None:
    child = site.folder / "child"
    with site.lamp(site.command(f'sleep 600 & echo $! >"{child}.new"; mv "{child}.new" "{child}"')) as lamp:
        wait(child.exists)
        wait(lambda: not is_alive(int(child.read_text())))
        assert lamp.state == "ok"


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_that_writes_without_end_fills_nothing_and_ends(site: Site) -> None:
    with site.lamp(site.command("yes; exit 1"), deadline_s=0.5) as lamp:
        wait(lambda: lamp.state == "failing")
    flood = f'head -c 10000000 /dev/zero; head -c 10000000 /dev/zero >&2; touch "{site.told}"'
    with site.lamp(site.command(flood)) as lamp:
        wait(site.told.exists)
        assert lamp.state == "ok"


def test_a_stop_does_not_wait_for_a_command_that_hangs(site: Site) -> None:
    script = f'echo "$1" >>"{site.told}"\n[ "$1" = no_signal ] && exit 0\nsleep 600'
    with site.lamp(site.command(script), deadline_s=30):
        wait(lambda: site.lines() == ["ready"])
    assert site.lines() == ["ready", "no_signal"]


def test_a_lamp_that_is_taken_away_is_told_so_and_another_one_follows(site: Site) -> None:
    first = site.command(f'echo first "$1" >>"{site.told}"', name="first")
    second = site.command(f'echo second "$1" >>"{site.told}"', name="second")
    with site.lamp(first) as lamp:
        wait(lambda: site.lines() == ["first ready"])
        lamp.use(LampSettings(command=second))
        wait(lambda: site.lines() == ["first ready", "first no_signal", "second ready"])
        lamp.use(LampSettings(command=second, deadline_s=1.0))
        wait(lambda: len(site.lines()) == 4)
        lamp.use(None)
        wait(lambda: lamp.state == "off")
    assert site.lines()[3:] == ["second ready", "second no_signal"]


def test_nothing_of_the_daemon_is_open_in_the_command(site: Site) -> None:
    held = os.open(site.folder, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        with site.lamp(site.command(f'ls /proc/$$/fd >>"{site.told}"')):
            wait(lambda: len(site.lines()) >= 3)
    finally:
        os.close(held)
    assert str(held) not in site.lines()


def test_a_stop_within_the_command_leaves_no_process(site: Site) -> None:
    pid = site.folder / "pid"
    with site.lamp(site.command(f'echo $$ >"{pid}"; exec sleep 600'), deadline_s=30):
        wait(lambda: pid.exists() and bool(pid.read_text()))
        first = int(pid.read_text())
    assert not is_alive(first)
    with pytest.raises(ProcessLookupError):
        os.kill(first, signal.SIGTERM)


BUSYLIGHT = """#!/bin/sh
case $1 in
list) cat "$0.there" 2>/dev/null || true ;;
*) echo "$*" >>"$0.told" ;;
esac
"""


def documented(site: Site, language: str, number: int) -> str:
    """A listing of the page on lamps."""
    page = (Path(__file__).parent.parent / "docs/lamp.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)[number]


def test_the_documented_script_shows_each_state_and_fails_without_a_lamp(site: Site) -> None:
    script, busylight = site.folder / "script", site.folder / "busylight"
    script.write_text(documented(site, "sh", 1))
    busylight.write_text(BUSYLIGHT)
    for file in (script, busylight):
        file.chmod(0o755)
    heartbeat = site.folder / "heartbeat"
    environment = {**os.environ, "BUSYLIGHT": str(busylight), "HEARTBEAT": str(heartbeat)}

    def show(state: str, suspects: int = 0) -> int:
        counted = {**environment, "SCANLIGHT_SUSPECT": str(suspects)}
        return subprocess.run([script, state], env=counted, check=False).returncode

    assert show("ready") != 0
    assert not heartbeat.exists()
    Path(f"{busylight}.there").write_text("blink(1)\n")
    states = [*State, "no_signal"]
    assert [show(state) for state in states] == [0] * len(states)
    assert show("fault", suspects=1) == 0
    assert Path(f"{busylight}.told").read_text().split("\n") == [
        *(f"on {colour}" for colour in ("red", "magenta", "yellow", "blue", "green", "white", "magenta")),
        "",
    ]
    assert heartbeat.exists()


def test_the_documented_watch_tells_a_lamp_whose_heartbeat_stopped(site: Site) -> None:
    command = re.search(r"ExecStart=/bin/sh -c '(.*)'", documented(site, "ini", 0))
    assert command is not None
    heartbeat = site.folder / "heartbeat"
    lamp = site.command(f'echo "$1" >>"{site.told}"')[0]
    script = command[1].replace("$$", "$").replace("/run/scanlight/lamp", str(heartbeat))
    script = script.replace("/usr/local/bin/scanlight-lamp", lamp)

    def watch() -> None:
        subprocess.run(["sh", "-c", script], check=True)

    heartbeat.touch()
    watch()
    assert site.lines() == []
    os.utime(heartbeat, (time.time() - 200,) * 2)
    watch()
    heartbeat.unlink()
    watch()
    assert site.lines() == ["no_signal", "no_signal"]


def test_the_documented_script_passes_shellcheck(site: Site) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck: apt-get install shellcheck")
    script = site.folder / "script"
    script.write_text(documented(site, "sh", 1))
    subprocess.run(["shellcheck", script], check=True)
