"""Who sees the results folder as the programs of a hospital do: all the time, by the names in it.

What it remembers and `scanlight read` on the same files are the whole truth of these tests; the journal has
no say.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOK_S = 0.01

_NAME = re.compile(r"(?P<stem>.+)\.r(?P<revision>\d+)\.json")


class Witness(threading.Thread):
    """`seen` are the bytes of each name at first sight, `complaints` what should never have been seen."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self._turn = threading.Lock()
        self._looked: dict[str, tuple[int, int, int]] = {}
        self._stopping = False
        self.seen: dict[str, bytes] = {}
        self.complaints: list[str] = []

    def run(self) -> None:
        while not self._stopping:
            with self._turn:
                self._look()
            time.sleep(LOOK_S)

    def stop(self) -> None:
        self._stopping = True
        self.join()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """The machine is off."""
        with self._turn:
            yield

    def wait_for(self, name: str, seconds: float) -> bool:
        """Whether a name was seen in time."""
        end = time.monotonic() + seconds
        while name not in self.seen and time.monotonic() < end:
            time.sleep(LOOK_S)
        return name in self.seen

    def findings(self) -> dict[str, dict[str, Any]]:
        """What was seen, by name."""
        with self._turn:
            return {name: json.loads(content) for name, content in self.seen.items()}

    def wrong(self) -> list[str]:
        """What should not be, now that all is done."""
        with self._turn:
            self._look()
            gone = self.seen.keys() - self._looked.keys()
            return [*self.complaints, *(f"{name} is gone" for name in sorted(gone))]

    def _look(self) -> None:
        looked = {}
        for path in self._folder.glob("[!.]*"):
            status = path.stat()
            looked[path.name] = status.st_ino, status.st_mtime_ns, status.st_ctime_ns
            if looked[path.name] != self._looked.get(path.name):
                self._read(path.name, path.read_bytes())
        self._looked = looked

    def _read(self, name: str, content: bytes) -> None:
        if name not in self.seen:
            try:
                json.loads(content)
            except ValueError:
                self.complaints.append(f"{name} is no JSON")
                content = b"{}"
            self.seen[name] = content
        elif self.seen[name] != content:
            self.complaints.append(f"{name} changed")


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of a series, as far as two ways to it must agree."""

    outcome: str | None
    reason: str | None
    probability: float | None
    reading_key: str | None

    @classmethod
    def by(cls, record: Mapping[str, Any]) -> Told:
        # A file without a series has a key of its path and its time, which differ from place to place.
        key = record["reading_key"] if record["series_uid"] else None
        return cls(record["outcome"], record["reason"], record["probability"], key)


def subject(record: Mapping[str, Any]) -> str:
    """The series, or the name of a file that belongs to none."""
    return str(record["series_uid"] or Path(record["path"]).name)


def latest(records: Iterable[Mapping[str, Any]]) -> dict[str, Told]:
    """What the highest revision of each series says."""
    ordered = sorted(records, key=lambda record: record["revision"])
    return {subject(record): Told.by(record) for record in ordered}


def chains(findings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is wrong with the revisions: each is written once, under its name, and follows the one before."""
    wrong = []
    series: dict[str, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
    for name, record in findings.items():
        named = _NAME.fullmatch(name)
        if named is None or record.get("revision") != int(named["revision"]):
            wrong.append(f"{name} holds revision {record.get('revision')}")
        else:
            series[named["stem"]].append((record["revision"], record))
    for stem, revisions in series.items():
        revisions.sort(key=lambda one: one[0])
        if [number for number, _ in revisions] != list(range(1, len(revisions) + 1)):
            wrong.append(f"{stem} has revisions {[number for number, _ in revisions]}")
        keys = [record["reading_key"] for _, record in revisions]
        if [record["supersedes"] for _, record in revisions] != [None, *keys[:-1]]:
            wrong.append(f"{stem} supersedes what did not come before")
        if len(set(keys)) != len(keys):
            wrong.append(f"{stem} tells the same reading twice")
    return wrong


def lost_objects(findings: Mapping[str, Mapping[str, Any]], objects: Path) -> list[str]:
    """The heatmaps that findings name and that are not there."""
    heatmaps = {record["heatmap"] for record in findings.values()} - {None}
    return [f"heatmap {name} is lost" for name in sorted(heatmaps) if not (objects / name).exists()]


def remains(state: Path) -> list[str]:
    """What a stopped appliance left half done in its state folder: temporary files, objects cut short."""
    wrong = [f"{path.name} is left" for path in state.rglob(".*")]
    for path in (state / "objects").iterdir():
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.stem:
            wrong.append(f"object {path.name} is not what its name says")
    return wrong
