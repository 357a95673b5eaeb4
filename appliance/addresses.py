"""Addresses of the configuration: `host:port`, IPv6 hosts in brackets."""

from __future__ import annotations

from ipaddress import ip_address


def split(address: str) -> tuple[str, int]:
    """Host, without brackets, and port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, is this machine seen from itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_wildcard(host: str) -> bool:
    """Whether it stands for all addresses of this machine."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def overlap(one: str, other: str) -> bool:
    """Whether only one of them can be listened on: one port, of one address or of all and one of them."""
    (host, port), (other_host, other_port) = split(one), split(other)
    # The page's sockets of IPv6 take no IPv4, and names are looked up as IPv4.
    if port != other_port or port == 0 or (":" in host) != (":" in other_host):
        return False
    return _plain(host) == _plain(other_host) or is_wildcard(host) or is_wildcard(other_host)


def _plain(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return "127.0.0.1" if host == "localhost" else host
