"""What the command line asks of a running daemon, over the Unix socket in its state folder.

The daemon serves the web application there too, and with it what changes something: whoever may enter the
state folder may ask for it.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.journal import Mark

ANSWER_S = 30.0
STATUS_S = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Retry:
    """Read these series once more, as somebody asks. `done` ends with how many of them there are."""

    subjects: tuple[str, ...]
    name: str
    done: Future[int] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, eq=False)
class MarkStudy:
    """Somebody did something about a study, for the findings up to the one with the id `upto`.

    `done` ends with how many findings it changed.
    """

    study: int
    action: Mark
    name: str
    upto: int | None = None
    done: Future[int] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, eq=False)
class MarkFiles:
    """Somebody has seen the files that belong to no series, up to the finding with the id `upto`.

    `done` ends with how many findings it changed.
    """

    name: str
    upto: int | None = None
    done: Future[int] = field(default_factory=Future)


Command = Retry | MarkStudy | MarkFiles


class NoDaemon(Exception):
    """Nobody answers at the socket."""


class Silent(Exception):
    """There is a daemon, and it does not answer."""


class Refused(Exception):
    """The daemon answered, but did not do it; the message is its sentence."""


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A path for the socket's address, which holds some 100 bytes only (unix(7)). Raises OSError."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def status(control: Path) -> dict[str, Any]:
    """The body of `/api/status`, within some seconds. Raises NoDaemon, Silent or PermissionError."""
    connection = _Connection(control, STATUS_S)
    try:
        connection.request("GET", "/api/status")
        response = connection.getresponse()
        body = json.loads(response.read())
    except (TimeoutError, BlockingIOError, ConnectionResetError) as error:
        raise Silent(str(error)) from error
    except PermissionError:
        raise
    except OSError as error:
        raise NoDaemon(error.strerror or str(error)) from error
    except (http.client.HTTPException, ValueError) as error:
        raise Silent(str(error)) from error
    finally:
        connection.close()
    if response.status != 200 or not isinstance(body, dict):
        raise Silent(f"it answered with {response.status}")
    return body


def retry(control: Path, subjects: Sequence[str], name: str) -> int:
    """Ask the daemon, as somebody, to read series once more; how many it knows.

    Raises NoDaemon or Refused.
    """
    connection = _Connection(control, ANSWER_S)
    try:
        connection.request("POST", "/api/retry", json.dumps({"subjects": list(subjects), "name": name}))
        response = connection.getresponse()
        answer = response.read()
    except TimeoutError as error:
        raise Refused(
            "The daemon has not answered yet, and does it when it can: see the page, its disk may be full."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise NoDaemon(str(error)) from error
    finally:
        connection.close()
    if response.status != 200:
        raise Refused(_sentence(response.status, answer))
    return int(json.loads(answer)["series"])


def _sentence(status: int, answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return f"The daemon does not know this request ({status}): start it again, it is of another version."


class _Connection(http.client.HTTPConnection):
    def __init__(self, control: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._control = control

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short_path(self._control) as address:
            self.sock.connect(address)
