"""A real daemon in a process of its own, driven from outside: files in, results folder and HTTP out."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pydicom
import yaml
from command import scanlight

from engines.bundle import embedded_model


class Appliance:
    """Reads with densitometry, which is quick and flags what tests mean it to; `settings` name another."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.export_folder = folder / "export"
        self.state = folder / "state"
        self.results = self.state / "results"
        self.export_folder.mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.config = folder / "scanlight.yaml"
        self.config.write_text(
            yaml.safe_dump(
                {
                    "export_folder": str(self.export_folder),
                    "state_folder": str(self.state),
                    "listen": f"127.0.0.1:{port}",
                    "model": str(embedded_model("densitometry")),
                    "completeness": {"floor_s": 0.6, "ceiling_s": 3.0},
                    "rescan_s": 1.0,
                    **settings,
                }
            )
        )
        self.log = folder / "log"
        self.environment: dict[str, str] = {}
        """What the daemon finds in its environment besides."""
        self.under: list[str] = []
        """A command that runs the daemon, such as setpriv."""
        self.program = ["-m", "appliance"]
        """What Python is to run."""
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, **settings: Any) -> None:
        """Other settings, from the next start on."""
        now = yaml.safe_load(self.config.read_text())
        self.config.write_text(yaml.safe_dump({**now, **settings}))

    def start(self) -> Appliance:
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_ready(self) -> None:
        self.wait("the daemon is ready", self._ready, 60)

    @contextlib.contextmanager
    def launched(self, env: Mapping[str, str] | None = None) -> Iterator[None]:
        """Run the daemon without waiting until it is ready."""
        self.launch(env)
        try:
            yield
        finally:
            self.__exit__()

    def launch(self, env: Mapping[str, str] | None = None) -> None:
        """Run the daemon, with more in its environment."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.under, sys.executable, *self.program, "run", "--config", str(self.config)],
                stderr=log,
                env={**os.environ, **self.environment, **(env or {})},
            )

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(15)
        self.process = None
        return code

    def __enter__(self) -> Appliance:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def copy(self, files: Sequence[Path], folder: str, pause_s: float = 0.0) -> None:
        """Write files one by one, as a scanner does."""
        (self.export_folder / folder).mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, self.export_folder / folder / file.name)
            time.sleep(pause_s)

    def findings(self) -> list[dict[str, Any]]:
        """What is in the results folder, by the order of recording."""
        found = [json.loads(path.read_text()) for path in self.results.glob("[!.]*.json")]
        return sorted(found, key=lambda record: record["recorded_at"])

    def wait_for_findings(self, count: int, seconds: float = 60) -> list[dict[str, Any]]:
        self.wait(f"{count} findings", lambda: len(self.findings()) >= count, seconds)
        return self.findings()

    def why(self) -> list[str]:
        """The codes behind FAULT; none while the daemon does not answer."""
        try:
            return list(self.status()["why"])
        except httpx.HTTPError:
            return []

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = httpx.get(f"{self.url}/api/status", timeout=5).json()
        return status

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"not in {seconds:g} s: {what}\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        return scanlight(*words, "--config", str(self.config))


def uid_of(file: Path) -> str:
    return str(pydicom.dcmread(file, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)
