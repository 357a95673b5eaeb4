"""Whether a request was meant for this appliance, and came from its own page. No I/O.

A browser lets any page of the internet send requests to an address that it can reach. Two things keep such a
page out: a name that is not ours in `Host` (a name of theirs that they have pointed to our address, so that
what we answer is theirs to read), and for what changes something the headers that the browser itself writes
(Fetch Metadata, Origin), with a type and a header that another site's page cannot send without being asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from ipaddress import ip_address

from appliance.addresses import is_loopback

READING = frozenset(("GET", "HEAD", "OPTIONS"))
LONGEST_BODY = 64 * 1024
OWN_HEADER = "x-scanlight"


def host_is_ours(host: str | None, names: Set[str], reached: str | None) -> bool:
    """Whether `Host` is a name of this machine: loopback, the address that was `reached`, or a known name.

    An address never is a name of somebody else's.
    """
    if not host:
        return False
    name = _without_port(host)
    if is_loopback(name) or name in names:
        return True
    try:
        return reached is not None and ip_address(name) == ip_address(reached.partition("%")[0])
    except ValueError:
        return False


def why_not_ours(method: str, scheme: str, headers: Mapping[str, str]) -> str | None:
    """Why a request may not change anything, in one sentence; None where it may."""
    if method in READING:
        return None
    host = headers.get("host", "")
    # A proxy in front speaks HTTPS while we do not.
    ours = {f"https://{host}"} | ({f"http://{host}"} if scheme == "http" else set())
    wanted = (
        (
            headers.get("sec-fetch-site", "same-origin") == "same-origin",
            "A page of another site asked for this.",
        ),
        (
            headers.get("origin") in (None, *ours),
            "A page of another address asked for this: where a proxy is in front, it must pass Host on.",
        ),
        (
            headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json",
            "Expected a body of Content-Type application/json.",
        ),
        (headers.get(OWN_HEADER) == "1", "Expected the header X-Scanlight: 1."),
        (
            _is_short(headers.get("content-length", "")),
            f"Expected a Content-Length of at most {LONGEST_BODY}.",
        ),
    )
    return next((sentence for met, sentence in wanted if not met), None)


def _is_short(length: str) -> bool:
    return length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= LONGEST_BODY


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().removesuffix(".")
