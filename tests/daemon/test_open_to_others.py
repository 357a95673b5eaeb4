"""A real daemon whose page is open to other machines, and one that must not be."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from command import scanlight
from harness import Appliance
from openssl import make_certificate

from appliance.config import ConfigError, parse

TOKEN = "2b7e151628aed2a6abf7158809cf4f3c"
FOLDERS = "export_folder: /srv/ct\nstate_folder: /var/lib/scanlight\n"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Appliance:
    """One that is set up and not started; this process trusts its certificate."""
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o640)
    appliance = Appliance(
        tmp_path,
        tls={"certificate": str(certificate), "key": str(key)},
        access_token_file=str(token),
        hosts=["localhost"],
    )
    port = appliance.url.rpartition(":")[2]
    text = appliance.config.read_text()
    appliance.config.write_text(text.replace(f"listen: 127.0.0.1:{port}", f"listen: 0.0.0.0:{port}"))
    appliance.url = f"https://127.0.0.1:{port}"
    return appliance


def test_the_page_is_open_to_who_has_the_token_and_the_socket_needs_none(closed: Appliance) -> None:
    with closed:
        assert httpx.get(f"{closed.url}/api/status").status_code == 401
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{closed.url}/api/status".replace("https", "http"))
        assert httpx.get(f"{closed.url}/api/status", headers=BEARER).json()["version"]
        elsewhere = httpx.get(f"{closed.url}/api/status", headers={**BEARER, "Host": "evil.example"})
        assert elsewhere.status_code == 421

        done = closed.cli("link")
        address, _, token = done.stdout.strip().partition("/enter#")
        assert (done.returncode, token) == (0, TOKEN)
        assert address == closed.url.replace("127.0.0.1", "localhost")
        with httpx.Client(base_url=address) as screen:
            answer = screen.post("/api/enter", json={"token": token}, headers={"X-Scanlight": "1"})
            assert answer.status_code == 204
            assert "Scanlight" in screen.get("/").text

        wrong = httpx.get(f"{closed.url}/api/status", headers={"Authorization": f"Bearer {TOKEN[::-1]}"})
        assert wrong.status_code == 401
        assert closed.cli("retry", "--failed").returncode == 0
        log = closed.log.read_text()
        assert '"event": "wrong_token", "address": "127.0.0.1"' in log
        assert TOKEN not in log
        assert TOKEN[::-1] not in log


@pytest.mark.parametrize(
    ("file", "content", "mode", "says"),
    [
        ("token", TOKEN, 0o644, "is open to every user of this machine: chmod 640"),
        ("page.key", None, 0, "cannot be read"),
    ],
)
def test_it_does_not_start_with_a_secret_that_is_none(
    closed: Appliance, tmp_path: Path, file: str, content: str | None, mode: int, says: str
) -> None:
    path = tmp_path / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
        path.chmod(mode)
    done = closed.cli("run")
    assert done.returncode == 2
    assert says in done.stderr
    assert str(path) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert TOKEN[1:] not in done.stderr


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            "listen: 0.0.0.0:8080\n",
            "line 3: listen: lets other machines see the page, which needs tls and access",
        ),
        ('listen: "[::]:8080"\n', "needs tls and access_token_file: set what is missing"),
        ("listen: ct1.example:8080\naccess_token_file: /etc/t\n", "needs tls: set what is missing"),
        (
            "listen: 192.0.2.1:8080\ntls: {certificate: /etc/c, key: /etc/k}\n",
            "needs access_token_file: set what is missing, or listen on 127.0.0.1:8080",
        ),
        (
            "listen: 192.0.2.1:8080\ntls: {certificate: /etc/c, key: /etc/k}\naccess_token_file: /etc/t\n"
            "proxy: {user_header: X-User}\n",
            "line 6: proxy: needs listen on 127.0.0.1",
        ),
    ],
)
def test_a_page_that_would_be_open_to_everybody_is_refused(lines: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(FOLDERS + lines, "site.yaml")
    assert len(raised.value.problems) == 1
    assert says in raised.value.problems[0]


@pytest.mark.parametrize(
    "lines",
    [
        "listen: 127.0.0.1:8080\n",
        'listen: "[::1]:8080"\n',
        "listen: localhost:8080\nproxy: {user_header: X-Remote-User}\nhosts: [ct1.example]\n",
        "metrics_listen: 0.0.0.0:9464\n",
        "listen: 0.0.0.0:8443\ntls: {certificate: /etc/c, key: /etc/k}\naccess_token_file: /etc/t\n",
    ],
)
def test_a_page_for_this_machine_and_one_with_all_it_needs_are_taken(lines: str) -> None:
    parse(FOLDERS + lines, "site.yaml")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("listen: 127.0.0.1:8080\n", "There is no access token, and no link"),
        ("access_token_file: /nowhere/token\n", "The access token /nowhere/token cannot be read"),
        (
            "listen: 0.0.0.0:8443\ntls: {certificate: /etc/c, key: /etc/k}\naccess_token_file: /nowhere/t\n",
            "names no machine: add hosts",
        ),
    ],
)
def test_without_what_it_needs_there_is_no_link(tmp_path: Path, lines: str, says: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(FOLDERS + lines)
    done = scanlight("link", "--config", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
