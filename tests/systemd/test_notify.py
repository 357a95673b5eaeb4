"""What the daemon tells the service manager, heard on a real socket."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from daemon.harness import Appliance
from notify_socket import NotifySocket
from sample_facts import READY

from appliance.faults import VARIABLE
from appliance.light import light, one_line
from appliance.service import ServiceManager

SmallChest = Callable[[str], list[Path]]


@pytest.fixture
def systemd(tmp_path: Path) -> NotifySocket:
    return NotifySocket(tmp_path / "notify")


def manager(address: str, watchdog_usec: int = 0, pid: int | None = None) -> ServiceManager:
    environment = {"NOTIFY_SOCKET": address}
    if watchdog_usec:
        environment |= {"WATCHDOG_USEC": str(watchdog_usec), "WATCHDOG_PID": str(pid or os.getpid())}
    return ServiceManager(environment)


def test_without_a_service_manager_nothing_is_said() -> None:
    service = ServiceManager({})
    service.ready()
    service.progress()
    service.status("ready")
    service.stopping()


def test_an_abstract_address_is_reached() -> None:
    with NotifySocket(f"@scanlight-{os.getpid()}") as systemd:
        manager(systemd.address).ready()
        systemd.wait_for("READY=1")


def test_ready_is_said_once_and_a_state_when_it_changes(systemd: NotifySocket) -> None:
    service = manager(systemd.address)
    for text in ("reading", "reading", "ready"):
        service.ready()
        service.status(text)
    service.stopping()
    systemd.listen(0.1)
    assert systemd.texts() == ["READY=1", "STATUS=reading", "STATUS=ready", "STOPPING=1"]


def test_the_watchdog_is_fed_at_most_every_third_of_its_interval(systemd: NotifySocket) -> None:
    assert manager(systemd.address, 60 * 10**6)._every_s == 20
    often, seldom = manager(systemd.address, 3), manager(systemd.address, 3 * 3600 * 10**6)
    for _ in range(5):
        seldom.progress()
    systemd.listen(0.1)
    assert systemd.texts() == ["WATCHDOG=1"]
    for _ in range(5):
        often.progress()
    systemd.listen(0.1)
    assert systemd.texts() == ["WATCHDOG=1"] * 6


def test_a_feeding_that_was_lost_is_repeated(tmp_path: Path) -> None:
    service = manager(str(tmp_path / "later"), 3600 * 10**6)
    service.progress()
    with NotifySocket(tmp_path / "later") as systemd:
        service.progress()
        systemd.wait_for("WATCHDOG=1")


def test_a_service_manager_that_does_not_listen_holds_nobody_up(systemd: NotifySocket) -> None:
    service = manager(systemd.address)
    for number in range(100_000):
        service.status(str(number))
        if service._status != str(number):
            return
    raise AssertionError("the socket was never full")


def test_the_watchdog_of_another_process_is_left_alone(systemd: NotifySocket) -> None:
    manager(systemd.address, 3, pid=1).progress()
    assert systemd.listen(0.1) == []


def test_children_do_not_inherit_the_service_manager(systemd: NotifySocket) -> None:
    environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "3", "WATCHDOG_PID": "1", "LANG": "C"}
    ServiceManager(environment)
    assert environment == {"LANG": "C"}


def test_the_state_is_one_line_with_its_counts() -> None:
    assert one_line(light(READY)) == "ready: 0 suspect, 0 not analysed, 0 failed, 0 in progress"
    down = replace(READY, folder_up=False, suspect=2, failed=1)
    assert (
        one_line(light(down))
        == "fault (export_folder_down): 2 suspect, 0 not analysed, 1 failed, 0 in progress"
    )


@pytest.fixture
def watched(systemd: NotifySocket, monkeypatch: pytest.MonkeyPatch) -> NotifySocket:
    """What this process starts is told of this service manager, and watched with an interval of a second."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    return systemd


def test_a_daemon_at_work_is_ready_tells_its_state_and_feeds_the_watchdog(
    watched: NotifySocket, tmp_path: Path, small_chest: SmallChest
) -> None:
    with Appliance(tmp_path) as appliance:
        assert appliance.process is not None
        appliance.copy(small_chest("covid"), "study")
        watched.wait_for("STATUS=reading: 0 suspect, 0 not analysed, 0 failed, 1 in progress")
        watched.wait_for("STATUS=suspect: 1 suspect, 0 not analysed, 0 failed, 0 in progress")
        fed = len(watched.told("WATCHDOG=1"))
        watched.wait_for("WATCHDOG=1", fed + 5)
        main = appliance.process.pid
        assert len(watched.told("READY=1")) == 1
        appliance.process.send_signal(signal.SIGHUP)
        watched.wait_for("RELOADING=1")
        watched.wait_for("READY=1", 2)
        assert appliance.stop() == 0
        watched.listen(0.1)
    assert watched.texts()[-1] == "STOPPING=1"
    assert {message.pid for message in watched.heard} == {main}


def test_ready_means_that_the_page_answers_and_waits_for_no_engine(
    watched: NotifySocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "engine.opened:hang")
    appliance = Appliance(tmp_path)
    with appliance.launched():
        watched.wait_for("READY=1")
        assert httpx.get(f"{appliance.url}/healthz", timeout=10).status_code == 200
        assert httpx.get(f"{appliance.url}/readyz", timeout=10).status_code == 503


def test_a_main_loop_that_hangs_feeds_no_watchdog_while_the_other_threads_run(
    watched: NotifySocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "loop.turned:hang:60")
    appliance = Appliance(tmp_path)
    with appliance.launched():
        watched.wait_for("WATCHDOG=1", 2)
        appliance.wait("the page calls it stalled", lambda: appliance.why() == ["main_loop_stalled"], 60)
        watched.listen(0.1)
        assert watched.listen(3) == []
