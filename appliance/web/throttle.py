"""How soon a token is looked at after wrong ones. No I/O."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

LONGEST_WAIT_S = 60.0
FORGET_S = 3600.0
ADDRESSES = 1024


@dataclass(frozen=True, slots=True)
class _Wrong:
    """Wrong tokens from one address: how long the next one waits, and from when on."""

    at: float
    wait_s: float


class Throttle:
    """After a wrong token an address waits for a second, then twice as long each time, up to a minute.

    Others do not wait for it, or whoever guesses could lock out everybody. The address that was silent for
    longest is forgotten where there are too many. Who holds a cookie never waits: only tokens are slowed.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._wrong: OrderedDict[str, _Wrong] = OrderedDict()

    def __len__(self) -> int:
        return len(self._wrong)

    def wait_s(self, address: str) -> float:
        """How long from now until a token from this address is looked at; 0: it is now."""
        wrong = self._wrong.get(_network(address))
        return max(0.0, wrong.at + wrong.wait_s - self._monotonic()) if wrong else 0.0

    def wrong(self, address: str) -> None:
        now, network = self._monotonic(), _network(address)
        before = self._wrong.pop(network, None)
        again = before is not None and now - before.at < FORGET_S
        self._wrong[network] = _Wrong(
            now, min(LONGEST_WAIT_S, before.wait_s * 2) if before and again else 1.0
        )
        while len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        self._wrong.pop(_network(address), None)


def _network(address: str) -> str:
    """Whoever has an IPv6 address has 2^64 of them."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(IPv6Address(int(ip) >> 64 << 64)) if ip.version == 6 else str(ip)
