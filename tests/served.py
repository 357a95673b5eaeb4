"""A web server of its own for a test."""

from __future__ import annotations

from starlette.types import ASGIApp

from appliance.web.certificate import Certificate
from appliance.web.connections import MOST, SILENCE_S
from appliance.web.server import WebServer, tcp


class Served(WebServer):
    """Port 0 takes a free one."""

    def __init__(
        self,
        app: ASGIApp,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: Certificate | None = None,
        *,
        most: int = MOST,
        silence_s: int = SILENCE_S,
    ) -> None:
        listening = tcp(host, port)
        self.host = host
        self.port = int(listening.getsockname()[1])
        super().__init__(app, listening, certificate, most=most, silence_s=silence_s)
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://[{host}]:{self.port}/" if ":" in host else f"{scheme}://{host}:{self.port}/"

    def stop(self) -> None:
        self.ask_to_stop()
        self.join(5)


def died(error: BaseException) -> None:
    raise error
