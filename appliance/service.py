"""What the service manager is told: started, still moving, in which state, stopping (sd_notify(3)).

The watchdog is fed by whoever makes progress and by no timer: a main loop that hangs sends nothing, and the
service manager ends the process and starts it again.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

SEND_S = 1.0
"""The longest that a message waits for a service manager that is busy; then it is dropped."""


class ServiceManager:
    """Every call does nothing where no service manager listens. For one thread, the main loop's."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Takes its variables out of the environment: they are for this process, not for its children."""
        address = environment.pop("NOTIFY_SOCKET", "")
        interval = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        # "@" stands for the null byte of an abstract address (unix(7)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._every_s = int(interval) / 3e6 if interval.isdecimal() and watched else None
        self._fed_at = float("-inf")
        self._ready = False
        self._status = ""
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(SEND_S)

    def ready(self) -> None:
        """The start is over; said once."""
        self._ready = self._ready or self._send("READY=1")

    def progress(self) -> None:
        """The main loop moves. Cheap enough for every turn and for every step of a long one."""
        if self._every_s is None:
            return
        now = time.monotonic()
        if now - self._fed_at >= self._every_s and self._send("WATCHDOG=1"):
            self._fed_at = now

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent when it differs from the last."""
        if text != self._status and self._send(f"STATUS={text}"):
            self._status = text

    def reloading(self) -> None:
        """The configuration is read again, until `reloaded`."""
        self._send("RELOADING=1")

    def reloaded(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> bool:
        if self._socket is None:
            return False
        # A service manager that is being restarted, or busy, is no reason to end: the next feeding counts.
        with contextlib.suppress(OSError):
            self._socket.sendto(message.encode(), self._address)
            return True
        return False
