"""What the service's sandbox must be opened for, so that the daemon can do what its configuration asks for.

The unit lets it write below /var/lib/scanlight, read what its user may read outside of home and temporary
folders, and talk to this machine alone. A configuration that asks for more needs a drop-in (systemd.exec(5)).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from appliance.addresses import is_loopback, split
from appliance.config import Config

STATE: Final = Path("/var/lib/scanlight")
HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
LAMPS: Final = ("DeviceAllow=char-hidraw rw", "DeviceAllow=char-usb_device rw")
"""The devices that USB lamps are; whether they may be used, their permissions say."""
TEMPORARY: Final = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108


def drop_in(config: Config) -> str:
    """A drop-in for scanlight.service with what this configuration needs; links are followed."""
    tls = (config.tls.certificate, config.tls.key) if config.tls else ()
    lamp = Path(config.lamp.command[0]) if config.lamp else None
    named = (config.model, config.access_token_file, lamp, *tls)
    read = (config.export_folder, *(path for path in named if path))
    written = (config.state_folder, config.results)
    lines = ["# What the configuration asks for. Made by install.sh: change the configuration instead."]
    lines.append("[Service]")
    # Home folders are shown rather than the one folder bound: a bind would hold on to a folder that has been
    # replaced, or a share that has been mounted again.
    if any(_below(path, HOMES) for path in (*read, *written)):
        lines.append("ProtectHome=read-only")
    if any(_below(path, TEMPORARY) for path in (*read, *written)):
        lines.append("PrivateTmp=no")
    open_: list[Path] = [STATE]
    for path in written:
        if not _below(path, open_):
            open_.append(path)
            lines.append(f"ReadWritePaths={_quoted(path)}")
    if not all(
        is_loopback(split(address)[0]) for address in (config.listen, config.metrics_listen) if address
    ):
        lines.append("IPAddressAllow=any")
    if config.lamp is not None:
        lines += LAMPS
    return "\n".join(lines) + "\n"


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.resolve().is_relative_to(folder) for folder in folders)


def _quoted(path: Path) -> str:
    """A path as a value in a unit, where "%" begins a specifier and spaces separate (systemd.syntax(7))."""
    text = str(path).replace("%", "%%")
    if re.fullmatch(r"[\w/.%+@:-]+", text, re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
