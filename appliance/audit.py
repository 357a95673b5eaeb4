"""The audit log: who acknowledged what, every finding, every change of configuration and model.

A file of JSON lines beside the journal, append-only, in which each line carries the SHA-256 of the one
before: a line that was changed or taken out is found out. What happened is written down in the journal, in
the same transaction as what it is about, and carried over from there; `n` numbers the lines, so that a crash
in between repeats none. It survives the loss of the journal.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from appliance.faults import reach
from appliance.journal import Journal
from appliance.state_disk import StateDisk

_BEGINNING: Final = "0" * 64


class AuditDamaged(Exception):
    """A line is not what was written; the message is one sentence with its number in the file."""


class AuditLog:
    """The one that writes, for the main loop."""

    def __init__(self, path: Path, disk: StateDisk) -> None:
        """Opens or creates the file; a line that a power cut left half written will be written over.

        Raises OSError.
        """
        self._disk = disk
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        last, self._size = _last_line(self._descriptor)
        self._previous = _digest(last) if last else _BEGINNING
        self.last = _number(last)

    def close(self) -> None:
        os.close(self._descriptor)

    def follow(self, journal: Journal) -> None:
        """Write what the journal has noted since. Raises GivenUp."""
        while waiting := journal.audit_waiting():
            lines = b""
            previous = self._previous
            for number, entry in waiting:
                if number > self.last:
                    line = _line(number, previous, entry)
                    previous = _digest(line)
                    lines += line
            self._disk.until_taken(lambda lines=lines: self._append(lines))  # type: ignore[misc]
            reach("audit.written")
            self._size += len(lines)
            self._previous, self.last = previous, max(self.last, waiting[-1][0])
            journal.audit_written(waiting[-1][0])

    def _append(self, lines: bytes) -> None:
        # What a full disk took of an earlier attempt is written over.
        os.ftruncate(self._descriptor, self._size)
        rest = memoryview(lines)
        while rest:
            rest = rest[os.pwrite(self._descriptor, rest, self._size + len(lines) - len(rest)) :]
        os.fsync(self._descriptor)


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of an audit log, oldest first, each checked. Raises AuditDamaged or OSError.

    A line follows from the one before by its hash and by its number. That lines are missing at the end, the
    journal knows: see `missing`.
    """
    previous, last = _BEGINNING, 0
    with path.open("rb") as file:
        for place, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # it is being written
            try:
                entry: dict[str, Any] = json.loads(line)
                chained = entry["previous"] == previous and entry["n"] == last + 1
            except (ValueError, KeyError, TypeError) as error:
                raise AuditDamaged(f"Line {place} of {path} is no line of an audit log.") from error
            if not chained:
                raise AuditDamaged(
                    f"Line {place} of {path} does not follow from the one before: a line was changed, added"
                    " or taken out there."
                )
            previous, last = _digest(line), last + 1
            yield entry


def missing(last: int, journal: str | None) -> str | None:
    """What to say where a log that ends with line `last` lacks some that the journal knows to be in it."""
    written = int(journal or 0)
    if last >= written:
        return None
    return (
        f"The audit log ends with line {last}, and line {written} was written: what came after was taken out,"
        " or the file is another one."
    )


def difference(before: str | None, now: str) -> dict[str, list[Any]]:
    """What of a text changed, [before, now] by the names of its parts where both are JSON objects."""
    try:
        old, new = json.loads(before or "{}"), json.loads(now)
    except ValueError:
        return {"value": [before, now]}
    return {
        name: [old.get(name), new.get(name)]
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }


def _line(number: int, previous: str, entry: str) -> bytes:
    content = {"n": number, **json.loads(entry), "previous": previous}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _number(line: bytes) -> int:
    try:
        return int(json.loads(line)["n"]) if line else 0
    except (ValueError, KeyError, TypeError):
        return 0


def _last_line(descriptor: int) -> tuple[bytes, int]:
    """The last whole line, and where it ends."""
    size = os.fstat(descriptor).st_size
    tail, start = b"", size
    while start > 0 and tail.count(b"\n") < 2:
        start = max(0, start - 65536)
        tail = os.pread(descriptor, size - start, start)
    end = tail.rfind(b"\n") + 1
    return tail[tail.rfind(b"\n", 0, max(0, end - 1)) + 1 : end], start + end
