"""The web thread: one uvicorn server on one address."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from appliance.control import short_path
from appliance.web.certificate import Certificate
from appliance.web.connections import MOST, SILENCE_S, Listening, Loop, Protocol

BACKLOG: Final = 128

ENDING = "scanlight.ending"
"""Where an application leaves in its lifespan's state what is to be called when the server stops."""


class WebError(Exception):
    """The address cannot be served; the message is one sentence with what to do."""


class _Server(uvicorn.Server):
    """Tells when it is listening. uvicorn leaves signals alone outside of the main thread."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        with asyncio.Runner(loop_factory=partial(Loop, self.config.timeout_keep_alive)) as runner:
            runner.run(self.serve(sockets))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Answers that have no end of their own: it would wait for them.
        end = self.lifespan.state.get(ENDING)
        if end is not None:
            end()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class WebServer:
    """Serves an application on a listening socket, in a thread of its own; with a certificate over TLS.

    A connection on which `silence_s` nothing comes that is waited for is closed. A server that ends by itself
    raises in its thread.
    """

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        certificate: Certificate | None = None,
        *,
        most: int = MOST,
        silence_s: int = SILENCE_S,
    ) -> None:
        self._socket = Listening(listening, most)
        # The log of requests would hold addresses, and with them UIDs.
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=silence_s,
            timeout_graceful_shutdown=1,
            backlog=BACKLOG,
            ssl_context_factory=None if certificate is None else lambda *_: certificate.context,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Returns when requests are answered; raises WebError when the application does not start."""
        self._thread.start()
        self._server.listening.wait()
        if not self._server.started:
            raise WebError("The status page does not start: see the log.")

    def ask_to_stop(self) -> None:
        """Takes no more requests, and ends those that are open after a second."""
        self._server.should_exit = True

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, also before `start`."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except SystemExit as error:
            # uvicorn's way to say that the application did not start; a thread would end on it in silence.
            raise WebError("The web server ended at its start.") from error
        finally:
            self._socket.drop()
            self._server.listening.set()
        if not self._server.should_exit:
            raise WebError("The web server ended by itself.")


def tcp(host: str, port: int) -> socket.socket:
    """A listening socket: one that is only bound would not keep a second process off. Raises WebError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise WebError(_sentence(host, port, error)) from error


def unix(path: Path) -> socket.socket:
    """A listening Unix socket for its owner and group, in place of one that was left. Raises WebError."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with short_path(path) as address:
            listening.bind(address)
        path.chmod(0o660)
        listening.listen()
    except OSError as error:
        listening.close()
        raise WebError(
            f"The socket {path} cannot be opened ({error.strerror}): check the state folder."
        ) from error
    return listening


def _sentence(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use by another program: stop it, or choose another port."
    if error.errno == errno.EACCES:
        return f"Port {port} on {host} is not allowed to this user: choose one from 1024 on."
    return f"{host}:{port} cannot be opened ({error.strerror}): choose an address of this machine."
