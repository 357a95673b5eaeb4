"""The documented reverse proxy in front of an application of ours, as a browser meets it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from nginx import Nginx
from openssl import make_certificate, trusting
from served import Served
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from appliance.access_token import AccessToken
from appliance.web.access import Access, Door, person

EVENTS = 3


async def who(request: Request) -> Response:
    named = str(json.loads(await request.body())["name"])
    return JSONResponse(
        {"person": person(request, named), "authorization": "authorization" in request.headers}
    )


async def events(request: Request) -> Response:
    async def few() -> AsyncIterator[bytes]:
        for number in range(EVENTS):
            yield f"event: status\ndata: {number}\n\n".encode()
            await asyncio.sleep(1)

    return StreamingResponse(few(), media_type="text/event-stream")


async def page(request: Request) -> Response:
    return Response("the page")


@contextlib.contextmanager
def behind_nginx(folder: Path, token: str = "") -> Iterator[tuple[httpx.Client, str]]:
    """A browser in front of nginx, which is called `localhost`, and the address of what is behind it."""
    access = Access(
        hosts=frozenset({"localhost"}),
        user_header="X-Remote-User",
        token=AccessToken(token) if token else None,
    )
    routes = [Route("/", page), Route("/who", who, methods=["POST"]), Route("/events", events)]
    server = Served(Starlette(routes=routes, middleware=[Middleware(Door, access)]))
    server.start()
    certificate, key = make_certificate(folder)
    nginx = None
    try:
        nginx = Nginx(folder, certificate, key, server.url, {"grey": "secret", "zoë": "secret"}, token)
        with httpx.Client(base_url=nginx.url, verify=trusting(certificate), timeout=10) as client:
            yield client, server.url
    finally:
        if nginx is not None:
            nginx.stop()
        server.stop()


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[httpx.Client]:
    with behind_nginx(tmp_path) as (client, _):
        yield client


def act(client: httpx.Client, user: str = "grey", **headers: str) -> httpx.Response:
    origin = str(client.base_url).rstrip("/")
    sent = {"X-Scanlight": "1", "Origin": origin, "Sec-Fetch-Site": "same-origin", **headers}
    return client.post("/who", json={"name": "typed"}, headers=sent, auth=(user.encode(), b"secret"))


def test_without_a_password_there_is_nothing(proxied: httpx.Client) -> None:
    for path in ("/", "/events"):
        assert proxied.get(path).status_code == 401
        assert proxied.get(path, auth=("grey", "wrong")).status_code == 401
    assert proxied.get("/", headers={"X-Remote-User": "grey"}).status_code == 401
    assert proxied.get("/", auth=("grey", "secret")).text == "the page"


def test_the_user_acts_and_a_name_that_was_sent_along_is_overwritten(proxied: httpx.Client) -> None:
    acted = {"person": "grey", "authorization": False}
    assert act(proxied).json() == acted
    assert act(proxied, **{"X-Remote-User": "forged"}).json() == acted
    assert act(proxied, **{"x-remote-user": "forged"}).json() == acted
    assert act(proxied, "zoë").json()["person"] == "zoë"


def test_a_page_of_another_site_cannot_act_with_the_password_of_the_browser(proxied: httpx.Client) -> None:
    assert act(proxied, Origin="https://evil.example").status_code == 403
    assert act(proxied, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert act(proxied, Host="evil.example", Origin="https://evil.example").status_code == 421


def test_events_come_one_by_one(proxied: httpx.Client) -> None:
    came = []
    with proxied.stream("GET", "/events", auth=("grey", "secret")) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data:"):
                came.append(time.monotonic())
    assert len(came) == EVENTS
    # Held back, they would all come at the end.
    assert came[-1] - came[0] > 1


def test_with_a_token_nobody_comes_past_the_proxy(tmp_path: Path) -> None:
    with behind_nginx(tmp_path, token="2b7e151628aed2a6abf7158809cf4f3c") as (client, behind):
        assert client.get("/").status_code == 401
        assert act(client).json()["person"] == "grey"
        assert httpx.get(behind, headers={"X-Remote-User": "grey"}).status_code == 401
