"""A daemon of its own: a process with its folders, for tools that play a scanner to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from appliance.findings.record import SeriesRecord

START_S = 60.0
STOP_S = 15.0

ENDS_WITH_US = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
"""What runs a daemon so that it ends even where this process is killed (prctl(2), PR_SET_PDEATHSIG)."""


class DaemonFailed(Exception):
    """The daemon does not start, or ended; one sentence."""


@dataclass(slots=True)
class OwnDaemon:
    """A daemon in a folder of its own: once entered it is ready. `port` 0 takes a free one.

    `settings` replace those that it writes itself, `environment` goes beside ours.
    """

    folder: Path
    ceiling_s: float
    port: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Raises DaemonFailed."""
        self.port = _free_port(self.port)
        self.export_folder.mkdir()
        config = self.folder / "scanlight.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "export_folder": str(self.export_folder),
                    "state_folder": str(self.state_folder),
                    "listen": f"127.0.0.1:{self.port}",
                    "completeness": {"ceiling_s": self.ceiling_s},
                    **self.settings,
                }
            )
        )
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*ENDS_WITH_US, sys.executable, "-m", "appliance", "run", "--config", str(config)],
                stderr=log,
                env={**os.environ, **self.environment},
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        self._process.kill()
        self._process.wait()

    @property
    def export_folder(self) -> Path:
        return self.folder / "export"

    @property
    def state_folder(self) -> Path:
        return self.folder / "state"

    @property
    def results(self) -> Path:
        return self.state_folder / "results"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def check(self) -> None:
        """Raises DaemonFailed when it does not run any more."""
        if self._process is not None and self._process.poll() is not None:
            raise DaemonFailed(
                f"The daemon ended with exit status {self._process.returncode}: {self.last_words()}"
            )

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "none"

    def get(self, path: str) -> str:
        """What it answers to a request; raises OSError."""
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310 (http, and ours)
            return str(answer.read().decode())

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            self.check()
            try:
                self.get("readyz")
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
            else:
                return
        raise DaemonFailed(
            f"The daemon was not ready after {START_S:.0f} s; its last words: {self.last_words()}"
        )


@dataclass(slots=True)
class NewResults:
    """A results folder, from which each result is taken once."""

    folder: Path
    _taken: set[str] = field(default_factory=set)

    def __call__(self) -> list[tuple[SeriesRecord, float]]:
        """What has come since the last call, and when each came (Unix time)."""
        found = []
        for path in sorted(self.folder.glob("[!.]*.json")):
            if path.name not in self._taken:
                self._taken.add(path.name)
                found.append((SeriesRecord.from_json(path.read_text()), path.stat().st_mtime))
        return found


def _free_port(wanted: int) -> int:
    """The wanted port, or a free one where it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise DaemonFailed("No port is free on 127.0.0.1: end a program that holds many.")
