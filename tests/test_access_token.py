from __future__ import annotations

from pathlib import Path

import pytest

from appliance.access_token import AccessToken, TokenError, read_token

TOKEN = "2b7e151628aed2a6abf7158809cf4f3c"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(0o640)
    return path


def problem(path: Path) -> str:
    with pytest.raises(TokenError) as raised:
        read_token(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_token_is_a_line(file: Path) -> None:
    file.write_text(TOKEN + "\n")
    assert read_token(file) == TOKEN


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o641, 0o602])
def test_a_token_that_everybody_may_touch_is_refused(file: Path, mode: int) -> None:
    file.write_text(TOKEN)
    file.chmod(mode)
    assert problem(file).endswith(f"is open to every user of this machine: chmod 640 {file}")


@pytest.mark.parametrize("text", ["", "\n", "  \n"])
def test_an_empty_token_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    assert "is empty: openssl rand -hex 32" in problem(file)


@pytest.mark.parametrize(
    "text",
    [TOKEN[1:], "a" * 257, TOKEN + " " + TOKEN, TOKEN + "\n" + TOKEN, TOKEN + "ä", TOKEN + "#", "x" * 5000],
)
def test_a_token_that_is_short_or_does_not_fit_into_a_link_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    said = problem(file)
    assert "one line of 32 to 256 letters" in said
    assert text[:20] not in said


def test_a_token_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in problem(tmp_path / "none")
    assert "cannot be read (Is a directory)" in problem(tmp_path)


def test_a_token_knows_itself_and_its_cookie_and_shows_neither() -> None:
    token = AccessToken(TOKEN)
    assert token.is_token(TOKEN)
    assert token.is_cookie(token.cookie)
    for other in ("", TOKEN[:-1], TOKEN + "x", token.cookie, "\ud800"):
        assert not token.is_token(other)
    for other in ("", TOKEN, token.cookie[:-1], AccessToken(TOKEN + "x").cookie):
        assert not token.is_cookie(other)
    assert TOKEN not in repr(token) + str(vars(token))
    assert AccessToken(TOKEN).cookie == token.cookie
