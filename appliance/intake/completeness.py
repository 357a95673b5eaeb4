"""When a series is complete: a sentinel, a count that its headers carry, or quiet. Pure functions.

A prefix of a chest is a contiguous chest too, so contiguity says nothing about the end, and quiet is only a
guess: `lifecycle` keeps what was read after quiet alone provisional until the ceiling, unless it flags.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from appliance.records import Header

MAX_GAPS = 512
"""So many of the latest gaps are enough to know a series' pace."""


class CompletedBy(StrEnum):
    """The evidence that a series is complete."""

    SENTINEL = "sentinel"
    COUNT = "count"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Pace:
    """Quiet is clamp(k x the 95th percentile of the series' gaps, floor, ceiling), in seconds."""

    floor_s: float = 1.5
    ceiling_s: float = 30.0
    k: float = 4.0


def quiet_s(gaps: Sequence[float], pace: Pace) -> float:
    """How long nothing may arrive before the series counts as complete.

    `gaps` are the seconds between its arrivals; the percentile is the nearest rank.
    """
    if not gaps:
        return pace.floor_s
    p95 = sorted(gaps)[math.ceil(0.95 * len(gaps)) - 1]
    return min(max(pace.k * p95, pace.floor_s), pace.ceiling_s)


def count_reached(headers: Collection[Header]) -> bool:
    """Whether the headers say how many images the series has, all the same number, and just so many are here.

    With more than that the number counts something else.
    """
    counts = {header.images_in_series for header in headers}
    if len(counts) != 1:
        return False
    (count,) = counts
    return count is not None and len(headers) == count


@dataclass(frozen=True, slots=True)
class Sentinel:
    """A file that the exporter writes last: `glob` on its name, and how far its word reaches."""

    glob: str
    scope: Literal["folder", "study"] = "folder"

    def matches(self, path: Path) -> bool:
        return fnmatchcase(path.name, self.glob)

    def covers(self, sentinel: Path, series_folders: Iterable[Path], study_folders: Iterable[Path]) -> bool:
        """Whether a sentinel at this path completes a series with files in these folders.

        With scope `study`, files of any series of the same study beside the sentinel are enough.
        """
        folders = series_folders if self.scope == "folder" else study_folders
        return sentinel.parent in folders
