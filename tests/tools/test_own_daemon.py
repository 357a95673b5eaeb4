"""A daemon that a tool starts ends with the tool, however that ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.own_daemon import ENDS_WITH_US

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENDS_WITH_US, reason="needs setpriv: apt-get install util-linux"),
]

TOOL = """
import sys, time
from pathlib import Path
from tools.own_daemon import OwnDaemon

with OwnDaemon(Path(sys.argv[1]), 3.0) as daemon:
    print(daemon.pid, flush=True)
    time.sleep(600)
"""


def test_it_ends_with_a_tool_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", TOOL, tmp_path], stdout=subprocess.PIPE, text=True) as tool:
        assert tool.stdout is not None
        number = tool.stdout.readline().strip()
        assert number, "it does not start"
        daemon = Path("/proc", number)
        tool.kill()
    end = time.monotonic() + 30
    while daemon.exists():
        assert time.monotonic() < end, "it runs on"
        time.sleep(0.1)
