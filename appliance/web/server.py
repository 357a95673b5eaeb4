"""The web thread: one uvicorn server on one address."""

from __future__ import annotations

import errno
import socket
import threading

import uvicorn
from starlette.types import ASGIApp

STOP_S = 3.0


class WebError(Exception):
    """The address cannot be served; the message is one sentence with what to do."""


class _Server(uvicorn.Server):
    """Tells when it is listening. uvicorn leaves signals alone outside of the main thread."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class WebServer:
    """Serves an application in a thread of its own.

    The constructor binds the address, so that one in use is found before anything else starts; raises
    WebError. Port 0 takes a free one, which `port` tells. A server that ends by itself raises in its thread.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self.host = host.strip("[]")
        self._socket = _listen(self.host, port)
        self.port = int(self._socket.getsockname()[1])
        # The log of requests would hold addresses, and with them UIDs.
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            loop="asyncio",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def start(self) -> None:
        """Returns when requests are answered; raises WebError when the application does not start."""
        self._thread.start()
        self._server.listening.wait()
        if not self._server.started:
            raise WebError("The status page does not start: see the log.")

    def stop(self) -> None:
        """Ends open requests and the thread, within a few seconds; also before `start`."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except SystemExit as error:
            # uvicorn's way to say that the application did not start; a thread would end on it in silence.
            raise WebError("The web server ended at its start.") from error
        finally:
            self._server.listening.set()
        if not self._server.should_exit:
            raise WebError("The web server ended by itself.")


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket: one that is only bound would not keep a second process off."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise WebError(_sentence(host, port, error)) from error


def _sentence(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use by another program: stop it, or choose another port."
    if error.errno == errno.EACCES:
        return f"Port {port} on {host} is not allowed to this user: choose one from 1024 on."
    return f"{host}:{port} cannot be opened ({error.strerror}): choose an address of this machine."
