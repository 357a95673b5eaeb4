"""How exporters write: scripts of the steps by which a series comes into the export folder. Pure functions.

Stalls are named for a ceiling of 30 s; where the ceiling is lower they are shorter by as much.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final, Literal

NAMED_CEILING_S: Final = 30.0


class Do(Enum):
    """One thing that an exporter does."""

    WRITE = auto()
    """The file in place, from where it ends up to a share of its bytes."""
    WRITE_TEMPORARY = auto()
    RENAME = auto()
    PREALLOCATE = auto()
    """The file in its full size, its pixels zero."""
    FILL = auto()
    FILL_UNSEEN = auto()
    """As copies that keep the time of the original: afterwards the file's mtime is what it was."""
    HIDE = auto()
    """Written where the listing does not show it yet."""
    SHOW = auto()
    SENTINEL = auto()
    CLOCK_FORWARD = auto()
    CLOCK_BACK = auto()


BRING_NO_SLICE: Final = frozenset((Do.SENTINEL, Do.CLOCK_FORWARD, Do.CLOCK_BACK))


@dataclass(frozen=True, slots=True)
class Step:
    """At so many seconds from the start, with the slice of this index."""

    at_s: float
    do: Do
    index: int = 0
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Tempo:
    """Seconds from slice to slice, and what the appliance is set to."""

    gap_s: float
    floor_s: float
    ceiling_s: float

    def stall(self, named_s: float) -> float:
        return named_s * self.ceiling_s / NAMED_CEILING_S

    @property
    def after_the_ceiling(self) -> float:
        """So long that whatever came before has been told of."""
        return 1.25 * self.ceiling_s + 2


Script = Callable[[int, Tempo], list[Step]]
"""From the number of slices to the steps of their export, in the order of time."""


Place = Literal["folder", "share", "clock"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A way in which series arrive.

    `place` is which daemon it is played to: one that watches a folder, one that polls a share, one whose
    clock is set. `whole`: all slices come in the end. `tells_part`: it pauses for longer than the ceiling
    where the slices so far do not end in lung, so that by rule they are told of as they are. `together`: its
    series come into one folder.
    """

    name: str
    script: Script
    place: Place = "folder"
    whole: bool = True
    tells_part: bool = False
    together: bool = False


def _times(
    order: Iterable[int], tempo: Tempo, pauses: Mapping[int, float] | None = None
) -> Iterator[tuple[float, int]]:
    """When each slice comes at an even pace; `pauses` are seconds before the slice at that place."""
    at = 0.0
    for place, index in enumerate(order):
        at += (pauses or {}).get(place, 0.0)
        yield at, index
        at += tempo.gap_s


def _in_order(steps: Iterable[Step]) -> list[Step]:
    return sorted(steps, key=lambda step: step.at_s)


def steady(slices: int, tempo: Tempo) -> list[Step]:
    return [Step(at, Do.WRITE, index) for at, index in _times(range(slices), tempo)]


def bursts(slices: int, tempo: Tempo) -> list[Step]:
    """As a reconstruction hands over one block after the other."""
    return [Step(index // 20 * 0.8 * tempo.floor_s, Do.WRITE, index) for index in range(slices)]


def shuffled(slices: int, tempo: Tempo) -> list[Step]:
    order = random.Random(slices).sample(range(slices), slices)  # noqa: S311 (the same each time)
    return [Step(at, Do.WRITE, index) for at, index in _times(order, tempo)]


def stalled(slices: int, tempo: Tempo, *, named_s: float, at: float) -> list[Step]:
    """Nothing for a while when this part of the slices is there."""
    pauses = {int(at * slices): tempo.stall(named_s)}
    return [Step(at_s, Do.WRITE, index) for at_s, index in _times(range(slices), tempo, pauses)]


def ended_early(slices: int, tempo: Tempo) -> list[Step]:
    """The export ends in the middle of the chest and never goes on."""
    return steady(slices // 2, tempo)


def late_slice(slices: int, tempo: Tempo) -> list[Step]:
    pauses = {slices - 1: tempo.after_the_ceiling}
    return [Step(at, Do.WRITE, index) for at, index in _times(range(slices), tempo, pauses)]


def temporary_name(slices: int, tempo: Tempo) -> list[Step]:
    return _in_order(_renamed(_times(range(slices), tempo)))


def temporary_name_late_slice(slices: int, tempo: Tempo) -> list[Step]:
    pauses = {slices - 1: tempo.after_the_ceiling}
    return _in_order(_renamed(_times(range(slices), tempo, pauses)))


def _renamed(times: Iterable[tuple[float, int]]) -> Iterator[Step]:
    """Each file lies there whole for a moment before it gets its name."""
    for at, index in times:
        yield Step(at, Do.WRITE_TEMPORARY, index)
        yield Step(at + 0.3, Do.RENAME, index)


def preallocated(slices: int, tempo: Tempo) -> list[Step]:
    steps = []
    for at, index in _times(range(slices), tempo):
        steps += [Step(at, Do.PREALLOCATE, index), Step(at + 0.5, Do.FILL, index)]
    return _in_order(steps)


def preallocated_time_kept(slices: int, tempo: Tempo) -> list[Step]:
    """All files in their full size first, then their pixels, and the old time again."""
    begins = slices * tempo.gap_s + tempo.stall(5)
    return [
        *(Step(at, Do.PREALLOCATE, index) for at, index in _times(range(slices), tempo)),
        *(Step(begins + at, Do.FILL_UNSEEN, index) for at, index in _times(range(slices), tempo)),
    ]


def cut_and_completed(slices: int, tempo: Tempo) -> list[Step]:
    """A file in the middle is half there until long after the others."""
    cut = slices // 2
    steps = [
        Step(at, Do.WRITE, index, 0.5 if index == cut else 1.0) for at, index in _times(range(slices), tempo)
    ]
    return [*steps, Step(steps[-1].at_s + tempo.stall(20), Do.WRITE, cut)]


def growing(slices: int, tempo: Tempo) -> list[Step]:
    """The last file grows for longer than the ceiling; its header is not whole before the end."""
    last, parts = slices - 1, (0.004, 0.005, 0.006)
    steps = steady(last, tempo)
    begins = last * tempo.gap_s
    steps += [Step(begins + tempo.stall(18 * n), Do.WRITE, last, part) for n, part in enumerate(parts)]
    return [*steps, Step(begins + tempo.stall(54), Do.WRITE, last)]


def late_batches(slices: int, tempo: Tempo) -> list[Step]:
    """As on a share with a cache: a file is in the listing only seconds after it was written."""
    period = tempo.stall(4)
    steps = []
    for at, index in _times(range(slices), tempo):
        steps += [Step(at, Do.HIDE, index), Step((at // period + 1) * period, Do.SHOW, index)]
    return _in_order(steps)


def sentinel(slices: int, tempo: Tempo) -> list[Step]:
    steps = steady(slices, tempo)
    return [*steps, Step(steps[-1].at_s, Do.SENTINEL)]


def sentinel_after_a_stall(slices: int, tempo: Tempo) -> list[Step]:
    """The second half comes all at once, with its sentinel, while the first half is being read."""
    half = slices // 2
    steps = steady(half, tempo)
    again = steps[-1].at_s + tempo.floor_s + 0.3
    steps += [Step(again, Do.WRITE, index) for index in range(half, slices)]
    return [*steps, Step(again, Do.SENTINEL)]


def clock_set(slices: int, tempo: Tempo) -> list[Step]:
    """A day forward and two back: among the slices, in a stall, and while a reading waits for the ceiling."""
    at = 0.9
    steps = stalled(slices, tempo, named_s=20, at=at)
    stall, end = steps[int(at * slices)].at_s, steps[-1].at_s
    moments = [0.1 * stall, 0.2 * stall, stall - tempo.stall(15), stall - tempo.stall(5)]
    moments += [end + tempo.stall(10), end + tempo.stall(15)]
    steps += [Step(at, Do.CLOCK_BACK if n % 2 else Do.CLOCK_FORWARD) for n, at in enumerate(moments)]
    return _in_order(steps)


PATTERNS: Final = (
    Pattern("steady", steady),
    Pattern("bursts", bursts),
    Pattern("stall of 2 s in mid-chest", partial(stalled, named_s=2, at=0.5)),
    Pattern("stall of 5 s in mid-chest", partial(stalled, named_s=5, at=0.5)),
    Pattern("stall of 20 s in mid-chest", partial(stalled, named_s=20, at=0.5)),
    Pattern("stall of 45 s in mid-chest", partial(stalled, named_s=45, at=0.5)),
    Pattern("stall of 5 s near the end", partial(stalled, named_s=5, at=0.9)),
    Pattern("stall of 20 s near the end", partial(stalled, named_s=20, at=0.9)),
    Pattern("shuffled order", shuffled),
    Pattern("two scanners into one folder", steady, together=True),
    Pattern("temporary name, then renamed", temporary_name),
    Pattern("temporary name, a late slice", temporary_name_late_slice, tells_part=True),
    Pattern("preallocated, then filled", preallocated),
    Pattern("preallocated, time kept", preallocated_time_kept),
    Pattern("ends in mid-chest for good", ended_early, whole=False),
    Pattern("a file cut, completed later", cut_and_completed),
    Pattern("last file grows past the ceiling", growing),
    Pattern("shown in late batches", late_batches),
    Pattern("sentinel", sentinel),
    Pattern("sentinel during a reading", sentinel_after_a_stall),
    Pattern("a late slice after the finding", late_slice, tells_part=True),
    Pattern("share, polled", late_batches, "share"),
    Pattern("clock set forward and back", clock_set, "clock"),
)
