"""The service manager's end of sd_notify(3): a real datagram socket, and who sent what."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True)
class Message:
    text: str
    pid: int


class NotifySocket:
    """Keeps every message in `heard`, in their order."""

    def __init__(self, address: Path | str) -> None:
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(self.address.replace("@", "\0", 1))
        self.heard: list[Message] = []

    def __enter__(self) -> NotifySocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def listen(self, seconds: float) -> list[Message]:
        """What comes within this time."""
        end = time.monotonic() + seconds
        new = []
        while (left := end - time.monotonic()) > 0 or not new:
            self._socket.settimeout(max(left, 0.001))
            try:
                data, ancillary, _, _ = self._socket.recvmsg(4096, 256)
            except TimeoutError:
                break
            ((_, _, credentials),) = ancillary
            pid, _, _ = _CREDENTIALS.unpack(credentials)
            new.append(Message(data.decode(), pid))
        self.heard += new
        return new

    def wait_for(self, text: str, count: int = 1, seconds: float = 60) -> None:
        """Until so many messages that begin so have been heard in all."""
        end = time.monotonic() + seconds
        while len(self.told(text)) < count:
            assert time.monotonic() < end, f"not in {seconds:g} s: {text}, only {self.texts()}"
            self.listen(0.05)

    def told(self, text: str) -> list[Message]:
        return [message for message in self.heard if message.text.startswith(text)]

    def texts(self) -> list[str]:
        return [message.text for message in self.heard]
