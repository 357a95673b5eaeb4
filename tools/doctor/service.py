"""The service around the daemon: its ports, and its sandbox."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.addresses import split
from appliance.config import Config
from appliance.control import short_path
from appliance.state_folder import StateFolder
from appliance.web.server import WebError, tcp
from tools.doctor.check import Check, failed, judged, not_done

UNIT: Final = "scanlight.service"
EXPOSURE: Final = 2.0
ANALYSIS_S: Final = 30.0
BOOTED: Final = Path("/run/systemd/system")
"""Where systemd runs (sd_booted(3))."""

_PORT: Final = "free, or the running Scanlight's"
_SANDBOX: Final = f"exposure at most {EXPOSURE:g} of 10"
_LISTENING: Final = "0A"


def user(config: Config) -> Check:
    """What others than the service's user may read and write says nothing of the service."""
    name, limit = "Tested as", "the service's user, whose the state folder is"
    me = _name(os.geteuid())
    try:
        owner = _name(config.state_folder.stat().st_uid)
    except OSError as error:
        return not_done(
            name, f"{me}; the state folder cannot be seen: {error.strerror}", limit, "start the service once"
        )
    if me == owner:
        return judged(name, True, me, limit, "")
    return not_done(name, f"{me}, not {owner}", limit, f"sudo -u {owner} scanlight doctor")


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def ports(config: Config) -> Iterator[Check]:
    daemon = daemon_pid(StateFolder(config.state_folder).control)
    yield port("Port of the page", config.listen, daemon)
    if config.metrics_listen not in (None, config.listen):
        yield port("Port of the metrics", config.metrics_listen, daemon)


def port(name: str, address: str, daemon: int | None) -> Check:
    """Taken for a moment where it is free; asked for its owner where it is not."""
    host, number = split(address)
    try:
        tcp(host, number).close()
    except WebError as error:
        if daemon is not None:
            mine = listens(daemon, number)
            if mine is None:
                why = f"{address} is in use, and by whom this user cannot see"
                return not_done(name, why, _PORT, "run it as the service's user or as root")
            if mine:
                return judged(name, True, f"{address}, the running Scanlight's", _PORT, "")
        return failed(name, str(error), _PORT, "stop the other program, or choose another port")
    return judged(name, True, f"{address} is free", _PORT, "")


def daemon_pid(control: Path) -> int | None:
    """The process that listens on the control socket (SO_PEERCRED, unix(7)); None without one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(3)
        try:
            with short_path(control) as address:
                asking.connect(address)
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    return int(struct.unpack("3i", told)[0])


def listens(process: int, number: int) -> bool | None:
    """Whether a process listens on a TCP port (proc_pid_net(5)); None where its files are not for us."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == number:
                inodes.add(f"socket:[{fields[9]}]")
    try:
        for one in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if str(one.readlink()) in inodes:
                    return True
    except OSError:
        return None
    return False


def sandbox(unit: str | Path = UNIT) -> Check:
    """What systemd-analyze says of the service that is installed, or of the file of a unit."""
    name, remedy = "Sandbox of the service", "install it with install.sh, and look at what its drop-ins open"
    program = shutil.which("systemd-analyze")
    if program is None or not (isinstance(unit, Path) or BOOTED.exists()):
        return not_done(name, "no systemd runs here", _SANDBOX, "run it on the machine of the service")
    offline = ["--offline=yes"] if isinstance(unit, Path) else []
    command = [program, "security", "--no-pager", *offline, str(unit)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANALYSIS_S)
    except subprocess.TimeoutExpired:
        return failed(name, f"systemd-analyze says nothing for {ANALYSIS_S:g} s", _SANDBOX, remedy)
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    if found is None:
        said = (done.stderr.strip() or "it says nothing").splitlines()[0]
        return failed(name, f"systemd-analyze cannot tell: {said}", _SANDBOX, remedy)
    exposure = float(found[1])
    return judged(name, exposure <= EXPOSURE, f"exposure {exposure:g} of 10", _SANDBOX, remedy)
