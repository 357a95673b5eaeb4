"""Which slices make a series, and which of two copies of an instance counts. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto

from appliance.records import Slice


class Copy(Enum):
    """What a slice is to those that are already there."""

    NEW = auto()
    SAME = auto()
    REPLACES = auto()
    """The same SOP Instance UID with other bytes: the latest wins."""


def compare(known: Slice | None, arrived: Slice) -> Copy:
    """`known` is the slice with the same SOP Instance UID, if there is one."""
    if known is None:
        return Copy.NEW
    return Copy.SAME if known.content_sha256 == arrived.content_sha256 else Copy.REPLACES


def group(slices: Iterable[Slice]) -> Mapping[str, list[Slice]]:
    """Slices by Series Instance UID, one for each SOP Instance UID, for a reading without a daemon.

    Of two with other bytes the one whose file was modified last counts.
    """
    series: dict[str, dict[str, Slice]] = {}
    for one in sorted(slices, key=lambda s: (s.arrival.identity.mtime_ns, str(s.arrival.path))):
        instances = series.setdefault(one.header.series_uid, {})
        known = instances.get(one.header.sop_instance_uid)
        if compare(known, one) is not Copy.SAME:
            instances[one.header.sop_instance_uid] = one
    return {uid: list(instances.values()) for uid, instances in series.items()}
