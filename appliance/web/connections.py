"""What one address has room for: how many connections there are, and how long one may do nothing.

Anybody who reaches a port may open connections and leave them, and each is an open file of the daemon, which
needs them for its work.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
import weakref
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from appliance import logs

MOST: Final = 256
SILENCE_S: Final = 15

_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_BETWEEN_LINES_S: Final = 60


class _Refusals:
    """In the log once a minute: whoever causes them must not fill it."""

    def __init__(self) -> None:
        self._next = 0.0

    def tell(self, code: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _BETWEEN_LINES_S
            logs.event("connections_refused", logging.WARNING, code=code)


class Listening(socket.socket):
    """A listening socket that closes at once what comes while `most` connections are open.

    Counted here, and not where requests begin: over TLS there is a connection long before.
    """

    def __init__(self, plain: socket.socket, most: int) -> None:
        super().__init__(fileno=plain.detach())
        self._most = most
        self._accepted: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._refusals = _Refusals()

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        if sum(other.fileno() >= 0 for other in self._accepted) >= self._most:
            connection.close()
            self._refusals.tell("TOO_MANY")
            # To asyncio this is one that went before it was taken.
            raise ConnectionAbortedError
        self._accepted.add(connection)
        return connection, address

    def drop(self) -> None:
        """Closes what it accepted, when nobody serves it any more: a browser would go on asking there."""
        for connection in list(self._accepted):
            connection.close()


class Loop(asyncio.SelectorEventLoop):
    """Limits how long TLS may take to begin, and floods no log while no more files can be opened."""

    def __init__(self, silence_s: float) -> None:
        super().__init__()
        self._silence_s = silence_s
        self._refusals = _Refusals()

    async def create_server(self, *args: Any, **keywords: Any) -> asyncio.Server:  # noqa: ANN401
        if keywords.get("ssl"):
            keywords["ssl_handshake_timeout"] = self._silence_s
        return await super().create_server(*args, **keywords)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # asyncio tries again after a second, and says so for each that waits.
        if "socket" in context and isinstance(error, OSError) and error.errno in _NO_ROOM:
            self._refusals.tell(errno.errorcode[error.errno])
        else:
            super().call_exception_handler(context)


class Protocol(H11Protocol):
    """Ends a connection whose other side is waited for too long: for a whole request, or to take its answer.

    uvicorn's own limit begins after the first answer, and any byte stops it.
    """

    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        self._stop()
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop()

    def _look(self) -> None:
        """Runs the clock while it is the other side's turn."""
        request = self.cycle
        ours = request is not None and not request.more_body and not request.response_complete
        if ours and not self.flow.write_paused:
            self._stop()
        elif self._clock is None:
            self._clock = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
