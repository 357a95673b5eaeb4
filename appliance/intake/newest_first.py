"""The order in which a backlog is worked off."""

from __future__ import annotations

from bisect import insort
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")

EVERY = 4


class NewestFirst(Generic[T]):
    """The newest first, but every fourth time the oldest, so that nothing waits for ever. One thread."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, T]] = []
        self._number = count()
        self._turn = count(1)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, moment: float, item: T) -> None:
        """`moment` says how new it is, on any clock."""
        insort(self._waiting, (moment, next(self._number), item))

    def pop(self) -> T:
        """Raises IndexError when nothing waits."""
        oldest = next(self._turn) % EVERY == 0
        return self._waiting.pop(0 if oldest else -1)[-1]
