"""The access token: one secret in a file that opens the page and the API."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from pathlib import Path

SHORTEST = 32
LONGEST = 256


class TokenError(Exception):
    """The token cannot be used; the message is one sentence with what to do, without the token."""


class AccessToken:
    """What opens the page: the token itself, and the value of the cookie that stands for it.

    The cookie cannot be turned back into the token, and ends with it. Deriving it is made slow on purpose, so
    that trying cookies is no way around the time that wrong tokens cost.
    """

    def __init__(self, text: str) -> None:
        self._digest = _digest(text)
        self.cookie = hashlib.scrypt(text.encode(), salt=b"scanlight cookie", n=2**14, r=8, p=1).hex()
        self._cookie_digest = _digest(self.cookie)

    def is_token(self, given: str) -> bool:
        """Takes the same time whatever is given."""
        return hmac.compare_digest(_digest(given), self._digest)

    def is_cookie(self, given: str) -> bool:
        return hmac.compare_digest(_digest(given), self._cookie_digest)


def read_token(path: Path) -> str:
    """The token in a file of one line. Raises TokenError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(4096)
    except OSError as error:
        raise TokenError(
            f"The access token {path} cannot be read ({error.strerror}): make it as docs/securing.md tells."
        ) from error
    if mode & stat.S_IRWXO:
        raise TokenError(f"The access token {path} is open to every user of this machine: chmod 640 {path}")
    text = content.decode("ascii", "replace").strip()
    if not text:
        raise TokenError(f"The access token {path} is empty: openssl rand -hex 32 > {path}")
    if not re.fullmatch(rf"[A-Za-z0-9._~+/=-]{{{SHORTEST},{LONGEST}}}", text):
        raise TokenError(
            f"The access token {path} must be one line of {SHORTEST} to {LONGEST} letters, digits, ._~+/=-,"
            f" found {len(text)} characters: openssl rand -hex 32 > {path}"
        )
    return text


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
