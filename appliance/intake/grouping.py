"""Which slices make a series, and which of two copies of an instance counts. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import Enum, auto
from typing import Final

from appliance.reasons import Reason
from appliance.records import Header, Problem, Slice

_APART_MM: Final = 0.01
_SHARED_UID: Final = Problem(
    Reason.DUPLICATE_POSITION,
    "The SOP Instance UID is also that of a slice at another position: export the series again, each slice"
    " under a UID of its own.",
)


class Copy(Enum):
    """What a slice is to those that are already there."""

    NEW = auto()
    SAME = auto()
    REPLACES = auto()
    """The same SOP Instance UID with other bytes: the latest wins."""
    OUTDATED = auto()
    """The same, of a file that was modified before the one that is known: in whatever order they are read."""


def merge(known: Slice | None, arrived: Slice) -> tuple[Slice, Copy]:
    """The slice that counts, and what the one that arrived is to the known one with its SOP Instance UID.

    Of two with other bytes the one whose file was modified last counts. Two files with slices of different
    positions are no copies of each other: the UID is not one, and what counts has a problem, the same
    whichever of them came first.
    """
    if known is None:
        return arrived, Copy.NEW
    same_file = known.arrival.path == arrived.arrival.path
    latest = arrived if same_file else max(known, arrived, key=_age)
    if known.content_sha256 == arrived.content_sha256:
        return known if latest is known else replace(known, arrival=arrived.arrival), Copy.SAME
    if not same_file and (known.problem == _SHARED_UID or _apart(known.header, arrived.header)):
        first = min(known, arrived, key=lambda one: str(one.arrival.path))
        return replace(first, problem=_SHARED_UID), Copy.REPLACES
    return latest, Copy.REPLACES if latest is arrived else Copy.OUTDATED


def _age(one: Slice) -> tuple[int, str]:
    return one.arrival.identity.mtime_ns, str(one.arrival.path)


def _apart(one: Header, other: Header) -> bool:
    if one.position is None or other.position is None:
        return False
    return math.dist(one.position, other.position) > _APART_MM


def group(slices: Iterable[Slice]) -> Mapping[str, list[Slice]]:
    """Slices by Series Instance UID, one for each SOP Instance UID, for a reading without a daemon."""
    series: dict[str, dict[str, Slice]] = {}
    for one in slices:
        instances = series.setdefault(one.header.series_uid, {})
        uid = one.header.sop_instance_uid
        instances[uid], _ = merge(instances.get(uid), one)
    return {uid: list(instances.values()) for uid, instances in series.items()}
