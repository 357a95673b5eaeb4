"""What has been told of each file in the export folder, small enough for millions of them.

A folder's files are one string of names and one of identities: a folder in which nothing changed is told by
comparing two strings, and a file takes its name and 24 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from appliance.intake.folder import Listing
from appliance.records import Arrival, FileIdentity

LIVELY_S = 600.0
"""A folder is listed with every look until nothing changed in it for so long: its own time of change tells
of a file that came, not of one that grows. And for so long a file that was told of is told of again when its
inode changes: who fills it in place, and puts its mtime back, has changed nothing else."""

Stamp = tuple[int, int, int]
"""Device, inode and time of change of a folder."""


@dataclass(slots=True)
class _Told:
    """The files of one folder, either packed or, since a single file was noted, open by their names.

    `passed` are those that are none of ours, with when their inode changed; `recent` those told of lately,
    the oldest first, with that and when they were told of.
    """

    names: str = ""
    identities: bytes = b""
    open: dict[str, bytes] | None = None
    folders: tuple[str, ...] = ()
    stamp: Stamp | None = None
    changed_at: float = 0.0
    round: int = 0
    passed: dict[str, int] | None = None
    recent: dict[str, tuple[int, float]] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        if self.open is None:
            size = FileIdentity.PACKED
            places = range(0, len(self.identities), size)
            names = self.names.split("/") if places else []
            self.open = {
                name: self.identities[at : at + size] for name, at in zip(names, places, strict=True)
            }
            self.names, self.identities = "", b""
        return self.open

    def is_another(self, name: str, changed_ns: int) -> bool:
        """Whether the inode of a file changed since it passed, which is asked once, or was told of lately."""
        if self.passed is not None and self.passed.get(name, changed_ns) != changed_ns:
            del self.passed[name]
            return True
        return self.recent.get(name, (changed_ns, 0.0))[0] != changed_ns

    def remember(self, told_of: Iterable[tuple[str, int]], now: float) -> None:
        """The names of files that are told of, with when their inodes changed; forget those of long ago."""
        for name, changed_ns in told_of:
            self.recent.pop(name, None)
            self.recent[name] = changed_ns, now
        while self.recent and now - self.recent[name := next(iter(self.recent))][1] >= LIVELY_S:
            del self.recent[name]


class Census:
    """Times are on the monotonic clock."""

    def __init__(self, known: Iterable[tuple[str, FileIdentity, int]] = ()) -> None:
        """`known` files need not be told of; the ones of a folder best come together, by their names.

        With each comes when its inode changed, where it is none of ours, else 0.
        """
        self._folders: dict[str, _Told] = {}
        self._round = 0
        parts = ((*path.rpartition("/"), identity, changed_ns) for path, identity, changed_ns in known)
        for folder, files in groupby(parts, lambda one: one[0]):
            packed, passed = [], {}
            for _, _, name, identity, changed_ns in files:
                packed.append((name, identity.pack()))
                if changed_ns:
                    passed[name] = changed_ns
            if folder in self._folders:
                self._folders[folder].files().update(packed)
            else:
                names = "/".join(name for name, _ in packed)
                self._folders[folder] = _Told(names, b"".join(identity for _, identity in packed))
            if passed:
                told = self._folders[folder]
                told.passed = (told.passed or {}) | passed

    def settled(self, folder: Path, stamp: Stamp, now: float) -> tuple[str, ...] | None:
        """The names of the folders in a folder that need not be listed; None for one that must be."""
        told = self._folders.get(str(folder))
        if told is None or told.stamp != stamp or now - told.changed_at < LIVELY_S:
            return None
        told.recent.clear()
        told.round = self._round
        return told.folders

    def listed(
        self, folder: Path, listing: Listing, stamp: Stamp | None, now: float, age_s: float
    ) -> list[Arrival]:
        """A folder was listed: its new and changed files, which count as told from now on.

        `age_s` ago the folder last changed by its own clock, which is believed for want of anything better.
        Without a `stamp` it is not settled until it is listed again.
        """
        told = self._of(folder)
        if told.passed or told.recent:
            self._doubt(told, listing)
        names, identities = "/".join(listing.names), b"".join(listing.identities)
        news: list[Arrival] = []
        if told.open is not None or (told.names, told.identities) != (names, identities):
            news = list(listing.arrivals(folder, told.files()))
            told.names, told.identities, told.open = names, identities, None
        if told.changed_at:
            told.remember(((one.path.name, one.changed_ns) for one in news), now)
        elif age_s < LIVELY_S:
            # Those that are known from before this process may be filled yet.
            told.remember(_lately(listing), now)
        if told.stamp is None:
            told.changed_at = max(told.changed_at, now - age_s)
        elif news or told.stamp != stamp:
            told.changed_at = now
        told.folders, told.stamp = tuple(listing.folders), stamp
        return news

    def noted(self, arrival: Arrival, now: float) -> bool:
        """Whether a file is new or changed; it counts as told from now on."""
        told = self._of(arrival.path.parent)
        files, identity = told.files(), arrival.identity.pack()
        name = arrival.path.name
        another = told.is_another(name, arrival.changed_ns)
        if files.get(name) == identity and not another:
            return False
        files[name] = identity
        told.remember([(name, arrival.changed_ns)], now)
        told.changed_at = now
        return True

    def passed(self, arrival: Arrival) -> None:
        """A file is none of ours: it is told of again when its inode changes, however late."""
        told = self._of(arrival.path.parent)
        told.passed = (told.passed or {}) | {arrival.path.name: arrival.changed_ns}

    def forget(self, path: Path) -> None:
        """Tell of a file again, should it be there."""
        told = self._of(path.parent)
        told.files().pop(path.name, None)
        told.stamp = None

    def sweep(self) -> None:
        """Forget the folders of which nothing was heard since the sweep before: they are gone."""
        for folder in [folder for folder, told in self._folders.items() if told.round < self._round]:
            del self._folders[folder]
        self._round += 1

    @staticmethod
    def _doubt(told: _Told, listing: Listing) -> None:
        """Tell of those again whose inode changed."""
        for name, changed_ns in zip(listing.names, listing.changed_ns, strict=True):
            if told.is_another(name, changed_ns):
                told.files().pop(name, None)

    def _of(self, folder: Path) -> _Told:
        told = self._folders.setdefault(str(folder), _Told())
        told.round = self._round
        return told


def _lately(listing: Listing) -> Iterator[tuple[str, int]]:
    """The files that changed about when the last of them did, and when; others lay there for long."""
    since = max(listing.changed_ns, default=0) - round(LIVELY_S * 1e9)
    files = zip(listing.names, listing.changed_ns, strict=True)
    return ((name, changed_ns) for name, changed_ns in files if changed_ns >= since)
