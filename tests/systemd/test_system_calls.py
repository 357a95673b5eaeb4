"""Every system call that a real daemon makes at its work is one that the unit allows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from daemon.harness import Appliance
from releases import ROOT

UNIT = ROOT / "systemd/scanlight.service"
NEEDED = {"pidfd_open", "inotify_add_watch", "prlimit64", "fsync", "flock", "accept4", "sendto"}
"""What the daemon lives on; all of it is seen, or the trace is none."""
BY_ROOT = {"fchown"}
"""SQLite gives a new file to the owner of its database, as root alone."""

SmallChest = Callable[[str], list[Path]]


class Traced(Appliance):
    """A daemon under strace, which counts the calls of all of its threads and processes."""

    def launch(self, env: Mapping[str, str] | None = None) -> None:
        self.trace = self.log.with_name("trace")
        strace = ["strace", "-f", "-c", "-o", str(self.trace)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*strace, sys.executable, "-m", "appliance", "run", "--config", str(self.config)],
                stderr=log,
                env={**os.environ, **(env or {})},
            )

    def calls(self) -> set[str]:
        """Ends the daemon as the service manager does; what was called until then."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        os.kill(int(children.read_text()), signal.SIGTERM)
        assert self.process.wait(60) == 0
        self.process = None
        rows = re.findall(r"^ *[\d.]+ .* (\w+)$", self.trace.read_text(), re.M)
        return set(rows) - {"total"}


def calls_in(names: list[str]) -> set[str]:
    """System calls by their names and those of systemd's sets."""
    found: set[str] = set()
    while names:
        name = names.pop()
        if not name.startswith("@"):
            found.add(name)
            continue
        done = subprocess.run(
            ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
        )
        names += re.findall(r"^ {4}([@\w-]+)$", done.stdout, re.M)
    return found


def allowed() -> set[str]:
    """What the lines of the filter leave, one after the other (systemd.exec(5)); @default always."""
    result = calls_in(["@default"])
    for line in re.findall(r"^SystemCallFilter=(.+)$", UNIT.read_text(), re.M):
        names = line.removeprefix("~").split()
        result = result - calls_in(names) if line.startswith("~") else result | calls_in(names)
    return result | calls_in(["@default"])


@pytest.mark.slow
def test_a_daemon_at_work_makes_no_call_that_the_unit_forbids(
    tmp_path: Path, small_chest: SmallChest
) -> None:
    for program, package in (("strace", "strace"), ("systemd-analyze", "systemd")):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install {package}")
    appliance = Traced(tmp_path)
    with appliance:
        appliance.copy(small_chest("covid"), "study")
        appliance.wait_for_findings(1)
        appliance.copy(small_chest("clear")[:10], "another")
        appliance.wait_for_findings(2)
        assert appliance.cli("list").returncode == 0
        made = appliance.calls()
    assert made >= NEEDED
    assert made - allowed() - BY_ROOT == set()
    assert "mount" not in allowed()
