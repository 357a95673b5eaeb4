"""A web server of its own for a test."""

from __future__ import annotations

from starlette.types import ASGIApp

from appliance.web.server import WebServer, tcp


class Served(WebServer):
    """Port 0 takes a free one."""

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> None:
        listening = tcp(host, port)
        super().__init__(app, listening)
        self.host = host
        self.port = int(listening.getsockname()[1])
        self.url = f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    def stop(self) -> None:
        self.ask_to_stop()
        self.join(5)


def died(error: BaseException) -> None:
    raise error
