"""The journal as the handlers read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from appliance.journal import JournalReader

T = TypeVar("T")


class LazyJournal:
    """The reader, opened in the thread that first uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: JournalReader | None = None

    def __call__(self, query: Callable[[JournalReader], T]) -> T:
        """Raises JournalError or sqlite3.Error."""
        if self._reader is None:
            self._reader = JournalReader(self._path)
        return query(self._reader)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
