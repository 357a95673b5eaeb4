"""A series in flight, as the main loop holds it: its slices, its life and what is known of its reading."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.facts import Stage
from appliance.intake.completeness import count_reached
from appliance.intake.grouping import Copy, merge
from appliance.journal import SeriesRow
from appliance.lifecycle import Life, Phase
from appliance.reading import Reading, Rules
from appliance.records import Arrival, FileIdentity, Slice


@dataclass(slots=True, eq=False)
class InFlight:
    """`paths` are all files that belong to it, `slices` one for each SOP Instance UID.

    `seen_at` is when this process first saw it, or took it up again after it had ended.
    `job` numbers the reading that runs, by these `rules`. `missing` are files that an earlier reading used
    and that were not where they had been, the last time at `missed_at`.
    `retry`: it is to be read once more whatever was read or tried before. `evicted`: planes were dropped to
    save memory and must be read again. `awaited` are the paths that are being read again, `asked_again` says
    that there were some. `folders` are those of its files, awaited ones too. `complete_at` and
    `last_slice_at` are UTC, for the record.
    """

    row: SeriesRow
    study_uid: str
    life: Life
    rules: Rules
    seen_at: float
    slices: dict[str, Slice] = field(default_factory=dict)
    paths: dict[Path, tuple[Arrival, str]] = field(default_factory=dict)
    job: int | None = None
    reading: Reading | None = None
    queue_ms: float = 0.0
    missing: dict[Path, FileIdentity] = field(default_factory=dict)
    missed_at: float = 0.0
    retry: bool = False
    evicted: bool = False
    asked_again: bool = False
    awaited: set[Path] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)
    last_slice_at: str = ""
    complete_at: str = ""

    def take(self, arrived: Slice) -> Copy:
        """Add a slice; of two copies of an instance the latest counts."""
        uid = arrived.header.sop_instance_uid
        before = self.paths.get(arrived.arrival.path)
        if before is not None and before[1] != uid:
            # The file was written anew with another instance in it.
            self.drop(arrived.arrival.path)
        self.slices[uid], copy = merge(self.slices.get(uid), arrived)
        self.paths[arrived.arrival.path] = (arrived.arrival, uid)
        self.awaited.discard(arrived.arrival.path)
        self.folders.add(arrived.arrival.path.parent)
        return copy

    def drop(self, path: Path) -> None:
        """Forget what was read of a path that is not the same any more."""
        _, uid = self.paths.pop(path)
        if not any(other == uid for _, other in self.paths.values()):
            self.slices.pop(uid, None)

    def forget_name(self, path: Path) -> None:
        """A path is gone: it is not one of the series' when its instance has another, as after a rename."""
        known = self.paths.get(path)
        if known and sum(uid == known[1] for _, uid in self.paths.values()) > 1:
            del self.paths[path]

    @property
    def gone(self) -> bool:
        """Whether files that an earlier reading used are there under no other name either."""
        there = {arrival.identity for arrival, _ in self.paths.values()}
        return any(path not in self.paths and one not in there for path, one in self.missing.items())

    def evict(self) -> None:
        """Drop what can be read again."""
        self.slices = {uid: replace(one, plane=None) for uid, one in self.slices.items()}
        self.evicted = True

    @property
    def count_reached(self) -> bool:
        return count_reached([one.header for one in self.slices.values()])

    @property
    def bytes(self) -> int:
        """What its slices hold in memory."""
        return sum(one.plane.nbytes for one in self.slices.values() if one.plane is not None)

    def stage(self, at_job: int | None) -> Stage:
        """Where it is, while the engine is at the job of this number."""
        match self.life.phase:
            case Phase.READING:
                return "waiting" if self.job is None or self.job != at_job else "reading"
            case Phase.PROVISIONAL | Phase.CONFIRMING:
                return "provisional"
            case _:
                return "receiving"
