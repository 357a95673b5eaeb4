"""A real daemon that somebody opens connections to, and leaves them."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from harness import Appliance

from appliance.web.connections import SILENCE_S

pytestmark = pytest.mark.slow

SILENT = 400
# Room for all that two listeners take, and not for all that comes.
OPEN_FILES = 700


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_silent_connections_neither_end_it_nor_keep_it_from_flagging(
    tmp_path: Path, small_chest: Callable[[str], list[Path]]
) -> None:
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("needs prlimit: apt-get install util-linux")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        metrics = f"127.0.0.1:{probe.getsockname()[1]}"
    appliance = Appliance(tmp_path, metrics_listen=metrics)
    appliance.under = [prlimit, f"--nofile={OPEN_FILES}:{OPEN_FILES}"]
    with appliance, contextlib.ExitStack() as stack:
        silent = []
        for address in (appliance.url, metrics):
            for _ in range(SILENT):
                connection = socket.create_connection(("127.0.0.1", port(address)), 10)
                silent.append(stack.enter_context(connection))
                connection.setblocking(False)
        appliance.copy(small_chest("covid"), "study")
        (record,) = appliance.wait_for_findings(1)
        assert record["outcome"] == "flagged"
        appliance.wait(
            "all are closed", lambda: all(closed(connection) for connection in silent), SILENCE_S + 30
        )
        assert appliance.status()["state"] == "suspect"
        assert httpx.get(f"http://{metrics}/metrics").status_code == 200
        log = appliance.log.read_text()
        assert log.count("connections_refused") in (2, 3, 4), "one of each listener, a minute at most"
        for word in ("EMFILE", "state_disk_refuses", "export_folder_down", "system resource"):
            assert word not in log
        assert appliance.stop() == 0
