"""Who is let in: names, tokens, cookies, and what another site's page may ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openssl import make_certificate, trusting
from sample_journal import LiveBoard
from served import Served, died
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from appliance.access_token import AccessToken
from appliance.config import parse
from appliance.control import Command
from appliance.journal import Journal
from appliance.web.access import Access, Door, person
from appliance.web.app import create_app
from appliance.web.certificate import Certificate
from appliance.web.origin import host_is_ours

TOKEN = "2b7e151628aed2a6abf7158809cf4f3c"
ACTION = {"Content-Type": "application/json", "X-Scanlight": "1"}
NEEDS_THE_TOKEN = ("/", "/page.js", "/page.css", "/api/status", "/api/series", "/metrics", "/nothing")

Open = Callable[[Access], httpx.Client]


@pytest.fixture
def opened(board: LiveBoard, journal: Journal) -> Iterator[Open]:
    """Serve the page to whom an access lets in."""
    running: list[Served] = []

    def open_(access: Access) -> httpx.Client:
        app = create_app(board, journal.path, died, access=access, command=answered_at_once)
        running.append(Served(app))
        running[-1].start()
        return httpx.Client(base_url=running[-1].url, timeout=10)

    yield open_
    for server in running:
        server.stop()


def answered_at_once(command: Command) -> None:
    command.done.set_result(1)


@pytest.fixture
def closed(opened: Open) -> httpx.Client:
    """A page behind a token."""
    return opened(Access(token=AccessToken(TOKEN)))


def ask(client: httpx.Client, **headers: str) -> httpx.Response:
    """An action of the page."""
    named = {"name": "Dr. Example"}
    return client.post("/api/studies/1/acknowledge", json=named, headers={"X-Scanlight": "1", **headers})


def enter(client: httpx.Client, token: str = TOKEN) -> httpx.Response:
    return client.post("/api/enter", json={"token": token}, headers={"X-Scanlight": "1"})


def sentence(answer: httpx.Response) -> str:
    said: str = answer.json()["error"]
    assert said.endswith(".")
    return said


def test_names_of_this_machine_are_answered(opened: Open) -> None:
    client = opened(Access(hosts=frozenset({"ct1.example"})))
    for host in (
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1",
        "127.8.8.8:1",
        "[::1]:8080",
        "ct1.example",
        "CT1.example.:9",
    ):
        assert client.get("/api/status", headers={"Host": host}).status_code == 200, host


def test_a_name_that_somebody_pointed_here_is_not(opened: Open) -> None:
    client = opened(Access(hosts=frozenset({"ct1.example"})))
    for host in ("evil.example", "ct1.example.evil.example", "192.0.2.1", "127.0.0.1.evil.example", ""):
        for path in ("/", "/api/status", "/healthz", "/metrics", "/nothing"):
            answer = client.get(path, headers={"Host": host})
            assert answer.status_code == 421, (host, path)
            assert "hosts" in sentence(answer)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "evil" not in answer.text


@pytest.mark.parametrize(
    ("host", "reached", "ours"),
    [
        ("10.20.30.40:8443", "10.20.30.40", True),
        ("10.20.30.41:8443", "10.20.30.40", False),
        ("[fd00::5]:8443", "fd00:0:0::5%eth0", True),
        ("[fd00::6]", "fd00::5", False),
        ("ct1.example", "10.20.30.40", False),
        ("10.20.30.40", None, False),
        (None, "10.20.30.40", False),
    ],
)
def test_an_address_is_ours_where_it_was_reached(host: str | None, reached: str | None, ours: bool) -> None:
    assert host_is_ours(host, frozenset(), reached) is ours


def test_the_address_that_was_reached_is_a_name_of_this_machine(board: LiveBoard, journal: Journal) -> None:
    server = Served(create_app(board, journal.path, died, access=Access()), "0.0.0.0")
    server.start()
    try:
        for address in ("127.0.0.1", "127.0.0.2"):
            answer = httpx.get(f"http://{address}:{server.port}/api/status", headers={"Host": f"{address}:1"})
            assert answer.status_code == 200
    finally:
        server.stop()


def test_a_page_of_another_site_cannot_act(opened: Open) -> None:
    client = opened(Access())
    for site in ("cross-site", "same-site", "none"):
        answer = ask(client, **{"Sec-Fetch-Site": site})
        assert (answer.status_code, sentence(answer)) == (403, "A page of another site asked for this.")


def test_a_page_of_another_address_cannot_act(opened: Open) -> None:
    client = opened(Access())
    host = client.base_url.netloc.decode()
    for origin in (
        "https://evil.example",
        "null",
        "http://localhost:1",
        f"ftp://{host}",
        f"http://{host}.evil",
    ):
        assert ask(client, Origin=origin).status_code == 403, origin
    for origin in (f"http://{host}", f"https://{host}"):
        assert ask(client, Origin=origin).status_code == 200, origin


def test_what_a_form_can_send_is_no_action(opened: Open) -> None:
    client = opened(Access())
    own, json_type, form = {"X-Scanlight": "1"}, "application/json", "application/x-www-form-urlencoded"
    for headers, says in (
        (own, json_type),
        ({**own, "Content-Type": "text/plain"}, json_type),
        ({**own, "Content-Type": form}, json_type),
        ({"Content-Type": json_type}, "X-Scanlight: 1"),
        ({"Content-Type": json_type, "X-Scanlight": "yes"}, "X-Scanlight: 1"),
    ):
        answer = client.post("/api/retry", content=b'{"subjects": [], "name": "root"}', headers=headers)
        assert answer.status_code == 403
        assert says in sentence(answer)


def test_every_method_but_reading_is_checked(opened: Open) -> None:
    client = opened(Access())
    for method in ("POST", "PUT", "PATCH", "DELETE", "ODD"):
        answer = client.request(method, "/api/status", headers={"Origin": "https://evil.example"})
        assert answer.status_code == 403, method


def test_a_body_that_is_too_long_or_of_unknown_length_is_not_read(opened: Open) -> None:
    client = opened(Access())
    for body in (b" " * 65537, iter([b"{", b"}"])):
        answer = client.post("/api/studies/1/retry", content=body, headers=ACTION)
        assert answer.status_code == 403
        assert "Content-Length" in sentence(answer)


def test_the_page_acts(opened: Open) -> None:
    client = opened(Access())
    assert ask(client, **{"Sec-Fetch-Site": "same-origin"}).json() == {"findings": 1}
    assert ask(client, **{"Content-Type": "application/json; charset=utf-8"}).status_code == 200


def test_the_socket_in_the_state_folder_is_left_alone(board: LiveBoard, journal: Journal) -> None:
    server = Served(create_app(board, journal.path, died, command=answered_at_once, private=True))
    server.start()
    try:
        answer = httpx.post(
            server.url + "api/retry",
            content=b'{"subjects": [], "name": "root"}',
            headers={"Host": "localhost"},
        )
        assert answer.json() == {"series": 1}
    finally:
        server.stop()


def test_without_the_token_there_is_nothing(closed: httpx.Client) -> None:
    for path in NEEDS_THE_TOKEN:
        answer = closed.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-security-policy"]
        if path == "/":
            assert "scanlight link" in answer.text
            assert "/page.js" not in answer.text
        else:
            assert "scanlight link" in sentence(answer)
    assert ask(closed).status_code == 401


def test_probes_and_the_way_in_need_no_token(closed: httpx.Client) -> None:
    for path in ("/healthz", "/readyz"):
        assert closed.get(path).json() == {"ok": True, "why": []}
    page = closed.get("/enter")
    assert page.status_code == 200
    for path in ("/enter.css", "/enter.js"):
        assert path in page.text
        assert closed.get(path).status_code == 200
    assert closed.get("/api/enter").status_code == 401


def test_a_program_sends_the_token(closed: httpx.Client) -> None:
    for path in NEEDS_THE_TOKEN[:-1]:
        assert closed.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert ask(closed, Authorization=f"bearer  {TOKEN}").status_code == 200
    assert not closed.cookies


@pytest.mark.parametrize(
    "given", ["-", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), AccessToken(TOKEN).cookie, "\u00e4" * 32]
)
def test_a_wrong_token_does_not_open(closed: httpx.Client, given: str) -> None:
    bearer = b"Bearer " + given.encode("latin-1")
    answer = closed.get("/api/status", headers=[(b"Authorization", bearer)])
    assert answer.status_code == 401
    assert TOKEN not in answer.text


def test_other_schemes_are_no_token(closed: httpx.Client) -> None:
    for authorization in ("Basic YTpi", TOKEN, "Negotiate x") * 3:
        assert closed.get("/api/status", headers={"Authorization": authorization}).status_code == 401


def test_the_cookie_opens_for_a_year_and_is_not_the_token(closed: httpx.Client) -> None:
    answer = enter(closed)
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert parts == {"httponly", "samesite=strict", "path=/", "max-age=31536000"}
    for path in NEEDS_THE_TOKEN[:-1]:
        assert closed.get(path).status_code == 200
    assert ask(closed).status_code == 200


def test_the_year_begins_anew_whenever_the_page_is_opened(closed: httpx.Client) -> None:
    given = enter(closed).headers["set-cookie"]
    assert closed.get("/").headers["set-cookie"] == given
    assert "set-cookie" not in closed.get("/api/status").headers


def test_a_new_token_ends_all_cookies(opened: Open) -> None:
    before = opened(Access(token=AccessToken(TOKEN)))
    enter(before)
    after = opened(Access(token=AccessToken(TOKEN[::-1])))
    after.cookies = before.cookies
    assert after.get("/api/status").status_code == 401
    assert enter(after).status_code == 401
    # A cookie that has ended is none that was guessed: the screen is let in with its new link at once.
    third = opened(Access(token=AccessToken(TOKEN[::-1])))
    third.cookies = before.cookies
    for _ in range(30):
        assert third.get("/api/status").status_code == 401
    assert enter(third, TOKEN[::-1]).status_code == 204
    assert third.get("/api/status").status_code == 200


def test_wrong_tokens_are_slowed_and_logged_without_them(
    closed: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    wrong = TOKEN[::-1]
    assert enter(closed, wrong).status_code == 401
    for answer in (enter(closed, TOKEN), closed.get("/", headers={"Authorization": f"Bearer {TOKEN}"})):
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert "wait" in sentence(answer)
    ours = [record for record in caplog.records if record.name == "scanlight"]
    assert [record.getMessage() for record in ours] == ["wrong_token"]
    assert ours[0].fields == {"address": "127.0.0.1"}  # type: ignore[attr-defined]
    assert wrong not in "".join(str(vars(record)) for record in ours)


def test_who_is_inside_does_not_wait_for_who_is_guessing(closed: httpx.Client) -> None:
    enter(closed)
    with httpx.Client(base_url=closed.base_url) as stranger:
        for guess in range(30):
            assert enter(stranger, f"{guess:032}").status_code in (401, 429)
        assert enter(stranger).status_code == 429
    assert closed.get("/api/status").status_code == 200


def test_a_body_without_a_token_is_told_what_to_hold(closed: httpx.Client) -> None:
    for body in (b"", b"[]", b"{", b'{"other": 1}', b"[" * 60000, b"\xff"):
        answer = closed.post("/api/enter", content=body, headers=ACTION)
        assert (answer.status_code, sentence(answer)) == (400, 'Expected {"token": "..."}.')


def test_over_tls_the_cookie_never_travels_in_the_clear(
    board: LiveBoard, journal: Journal, tmp_path: Path
) -> None:
    pair = make_certificate(tmp_path)
    app = create_app(board, journal.path, died, access=Access(token=AccessToken(TOKEN)))
    server = Served(app, certificate=Certificate(*pair))
    server.start()
    try:
        with httpx.Client(base_url=server.url, verify=trusting(pair[0])) as client:
            assert client.get("/api/status").status_code == 401
            refused = client.post(
                "/api/enter",
                json={"token": TOKEN},
                headers={"X-Scanlight": "1", "Origin": server.url.replace("https", "http").rstrip("/")},
            )
            assert refused.status_code == 403
            answer = enter(client)
            assert "secure" in answer.headers["set-cookie"].lower()
            assert client.get("/api/status").json()["state"] == "ready"
    finally:
        server.stop()


@pytest.fixture
def named() -> Iterator[Callable[..., httpx.Response]]:
    """Asks who acts, of an application that is behind a proxy."""

    async def who(request: Request) -> Response:
        body = json.loads(await request.body() or "{}")
        return JSONResponse({"person": person(request, str(body.get("name")))})

    app = Starlette(
        routes=[Route("/who", who, methods=["GET", "POST"])],
        middleware=[Middleware(Door, Access(user_header="X-Remote-User"))],
    )
    server = Served(app)
    server.start()

    def ask_who(headers: Any = (), method: str = "POST") -> httpx.Response:
        return httpx.request(
            method, server.url + "who", json={"name": "typed"}, headers=[("X-Scanlight", "1"), *headers]
        )

    yield ask_who
    server.stop()


def test_the_user_of_the_proxy_acts_whatever_name_was_typed(named: Callable[..., httpx.Response]) -> None:
    assert named([("X-Remote-User", "Dr. Grey")]).json() == {"person": "Dr. Grey"}
    assert named([(b"x-remote-user", "Zoë".encode())]).json() == {"person": "Zoë"}
    assert named([("X-Remote-User", "x" * 63 + " of the department")]).json() == {"person": "x" * 63}


def test_the_page_can_ask_whose_name_is_known(opened: Open) -> None:
    behind = opened(Access(user_header="X-Remote-User"))
    assert behind.get("/api/person", headers={"X-Remote-User": "grey"}).json() == {"name": "grey"}
    assert behind.get("/api/person").json() == {"name": None}
    assert opened(Access()).get("/api/person", headers={"X-Remote-User": "grey"}).json() == {"name": None}


def test_without_the_user_of_the_proxy_nobody_acts(named: Callable[..., httpx.Response]) -> None:
    twice = [("X-Remote-User", "forged"), ("X-Remote-User", "grey")]
    for headers in ([], [("X-Remote-User", "")], twice):
        answer = named(headers)
        assert answer.status_code == 403
        assert "proxy" in sentence(answer)
    assert named([], "GET").status_code == 200


def test_without_a_proxy_the_name_is_the_one_that_was_typed(opened: Open) -> None:
    async def who(request: Request) -> Response:
        return JSONResponse(person(request, "typed"))

    server = Served(Starlette(routes=[Route("/", who)], middleware=[Middleware(Door, Access())]))
    server.start()
    try:
        assert httpx.get(server.url, headers={"X-Remote-User": "forged"}).json() == "typed"
    finally:
        server.stop()


def test_the_configurations_of_the_documentation_are_valid() -> None:
    page = Path(__file__).resolve().parents[2] / "docs/securing.md"
    examples = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S)
    assert len(examples) == 2
    for example in examples:
        parse(f"export_folder: /srv/ct\nstate_folder: /var/lib/scanlight\n{example}", "securing.md")


def test_the_configuration_says_who_is_let_in(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    text = f"export_folder: /srv/ct\nstate_folder: /var/lib/scanlight\naccess_token_file: {token}\n"
    access = Access.of(
        parse(text + "listen: 127.0.0.2:1\nhosts: [CT1.example]\nproxy: {user_header: X-User}\n", "x")
    )
    assert access.hosts == {"ct1.example", "127.0.0.2"}
    assert access.token is not None
    assert access.token.is_token(TOKEN)
    assert access.user_header == "X-User"
