"""Real mounts and shares for tests, which are skipped by name where the machine does not allow them."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def inotify_descriptors(process: int) -> list[int]:
    """Those that a process has open."""
    found = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if "inotify" in str(link.readlink()):
                found.append(int(link.name))
    return found


def mount(*words: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs to mount, as root: {done.stderr.strip()}")


def unmount(point: Path, *options: str) -> None:
    subprocess.run(["umount", *options, point], check=True, capture_output=True)


@contextmanager
def bound(source: Path, point: Path, *options: str) -> Iterator[None]:
    """A folder, seen at another place."""
    mount("--bind", source, point)
    try:
        if options:
            mount("-o", f"remount,bind,{','.join(options)}", point)
        yield
    finally:
        unmount(point, "--lazy")


@contextmanager
def mounted_anew(source: Path, point: Path) -> Iterator[None]:
    """Takes away what `bound` put there, and puts it back in the end."""
    unmount(point, "--lazy")
    try:
        yield
    finally:
        mount("--bind", source, point)


class Share:
    """A folder behind a program that answers for it, of the type of a network share, and its mishaps."""

    def __init__(self, source: Path, point: Path, *options: str) -> None:
        if shutil.which("bindfs") is None:
            pytest.skip("needs bindfs: apt-get install bindfs")
        self.source, self.point = source, point
        self._options = options
        self.mount()

    def mount(self) -> None:
        self.server = subprocess.Popen(
            [
                "bindfs",
                "-f",
                "-o",
                "subtype=sshfs,fsname=pacs:/export",
                *self._options,
                self.source,
                self.point,
            ],
            stderr=subprocess.PIPE,
        )
        end = time.monotonic() + 10
        while not self.point.is_mount():
            if self.server.poll() is not None or time.monotonic() > end:
                assert self.server.stderr is not None
                self.server.kill()
                pytest.skip(f"needs /dev/fuse, as root: {self.server.stderr.read().decode().strip()}")
            time.sleep(0.02)

    def hang(self) -> None:
        self.server.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.server.send_signal(signal.SIGCONT)

    def break_down(self) -> None:
        """The program ends, and everything below the folder answers with an error."""
        self.server.kill()
        self.server.wait()

    def unmount(self) -> None:
        unmount(self.point, "--lazy")

    def close(self) -> None:
        self.go_on()
        self.server.kill()
        self.server.wait()
        subprocess.run(["umount", "--lazy", self.point], check=False, capture_output=True)


@contextmanager
def shared(source: Path, point: Path, *options: str) -> Iterator[Share]:
    share = Share(source, point, *options)
    try:
        yield share
    finally:
        share.close()
