"""A machine with a real systemd as its first process, in namespaces of its own over a copy of this machine.

Its root is an overlay over this machine's, so that it has the same programs, and whatever is written is lost.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

LENT: Final = "/opt/lent-dependencies"
"""Where the machine has the dependencies of this environment, which may lie where a service must not look."""

_BOOT: Final = r"""
set -eu
mount --make-rprivate /
if [ "$1" = outside ]; then
    # A control group of its own, which its namespace then shows as the root of all.
    mkdir "$WORK/groups"
    mount -t cgroup2 none "$WORK/groups"
    mkdir "$WORK/groups/$GROUP"
    echo $$ >"$WORK/groups/$GROUP/cgroup.procs"
    exec unshare -m -p -u -i -n -C --fork --kill-child sh "$0" inside
fi
mkdir "$WORK/over" "$WORK/root"
mount -t tmpfs none "$WORK/over"
mkdir "$WORK/over/upper" "$WORK/over/work"
root=$WORK/root
mount -t overlay -o "lowerdir=/,upperdir=$WORK/over/upper,workdir=$WORK/over/work" overlay "$root"
mkdir -p "$root$LENT"
mount --bind "$DEPENDENCIES" "$root$LENT"
mount -t proc none "$root/proc"
mount -t sysfs -o ro none "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 none "$root/dev"
for device in null zero full random urandom tty; do cp -a "/dev/$device" "$root/dev/"; done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs none "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 none "$root/run"
mkdir "$root/run/units"
for target in sysinit basic shutdown multi-user; do
    printf '[Unit]\nDefaultDependencies=no\n' >"$root/run/units/$target.target"
done
rm -rf "$root"/etc/systemd/system/* "$root"/usr/local/lib/systemd/system/scanlight*
cd "$root"
pivot_root . mnt
umount -l /mnt
# As systemd does where it is not told that it is in a container: what is mounted later reaches the services.
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/units:/usr/local/lib/systemd/system \
    /lib/systemd/systemd --unit=basic.target --log-target=console --show-status=no
"""


class Machine:
    """Boots when entered; skips the test where that is not possible."""

    def __init__(self, work: Path, dependencies: str) -> None:
        self._work = work
        self._group = f"scanlight-test-{os.getpid()}"
        self._dependencies = dependencies
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Machine:
        if os.geteuid() != 0 or not Path("/lib/systemd/systemd").exists():
            pytest.skip("needs root and systemd: apt-get install systemd")
        script = self._work / "boot.sh"
        script.write_text(_BOOT)
        environment = {
            "PATH": os.environ["PATH"],
            "WORK": str(self._work),
            "GROUP": self._group,
            "DEPENDENCIES": self._dependencies,
            "LENT": LENT,
        }
        self.log = self._work / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "-m", "sh", script, "outside"], env=environment, stdout=log, stderr=log
            )
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _boot(self) -> None:
        assert self._process is not None
        end = time.monotonic() + 60
        while not self._booted():
            if self._process.poll() is not None or time.monotonic() > end:
                pytest.skip(f"systemd does not run in namespaces here: {self.log.read_text()[-300:]}")
            time.sleep(0.1)

    def _booted(self) -> bool:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        words = children.read_text().split() if children.exists() else []
        if not words:
            return False
        self._init = int(words[0])
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() == "running"

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        # The first process ends with its parent, and everything in its namespace with it.
        self._process.kill()
        self._process.wait()
        clean = 'mount -t cgroup2 none "$0" && find "$0/$1" -depth -type d -exec rmdir {} +'
        for _ in range(50):
            done = subprocess.run(
                ["unshare", "-m", "sh", "-c", clean, self._work / "groups", self._group],
                capture_output=True,
                check=False,
            )
            if done.returncode == 0:
                break
            time.sleep(0.1)

    def run(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command in the machine, as root."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._init), "-a", *words],
            capture_output=True,
            text=True,
            timeout=300,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}\n{self.service_log()}"
        return done

    def path(self, inside: str) -> Path:
        """A path in the machine, seen from outside."""
        return Path(f"/proc/{self._init}/root{inside}")

    def bring(self, file: Path, folder: str) -> str:
        """Copy a file or a folder into the machine; its path there."""
        target = self.path(folder)
        target.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            shutil.copytree(file, target / file.name)
        else:
            shutil.copyfile(file, target / file.name)
        return f"{folder}/{file.name}"

    def show(self, setting: str) -> str:
        """A property of the service, as systemctl shows it."""
        return self.run("systemctl", "show", "--value", f"--property={setting}", "scanlight").stdout.strip()

    def service_log(self) -> str:
        log = self.path("/run/scanlight.log")
        return log.read_text()[-2000:] if self._init and log.exists() else ""

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                state = self.run("systemctl", "status", "scanlight", check=False).stdout
                raise AssertionError(f"not in {seconds:g} s: {what}\n{state}\n{self.service_log()}")
            time.sleep(0.2)


def system_python() -> str:
    """A Python outside of home folders, of the version whose dependencies are lent."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = f"/usr/bin/python{version}"
    probe = [command, "-c", "import venv, ensurepip"]
    if not Path(command).exists() or subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip(f"needs Debian's Python {version}: apt-get install python{version}-venv")
    return command
