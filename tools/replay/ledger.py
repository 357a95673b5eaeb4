"""What was exported against what was told of it: the replay's own account, from outside of the appliance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from appliance.findings.record import SeriesRecord
from appliance.reasons import Outcome


@dataclass(frozen=True, slots=True)
class Exported:
    """A series as a scanner exported it. `uid` is its Series Instance UID, `original` names what it repeats,
    `last_file_at` is Unix time.
    """

    study: int
    uid: str
    original: str
    files: int
    last_file_at: float


@dataclass(slots=True)
class Ledger:
    """A result may come before the export of the rest of its study is noted."""

    revised: int = 0
    told_studies: int = 0
    _exported: dict[str, Exported] = field(default_factory=dict)
    _current: dict[str, tuple[SeriesRecord, float]] = field(default_factory=dict)
    _open: dict[int, set[str]] = field(default_factory=dict)

    def exported(self, study: Sequence[Exported]) -> None:
        """A whole study is out."""
        self._exported |= {one.uid: one for one in study}
        self._open[study[0].study] = {one.uid for one in study}
        for one in study:
            if one.uid in self._current:
                self._settle(one)

    def told(self, record: SeriesRecord, at: float) -> None:
        """A result came, at this Unix time."""
        uid = record.series_uid or record.path or ""
        self.revised += uid in self._current
        self._current[uid] = record, at
        if uid in self._exported:
            self._settle(self._exported[uid])

    def _settle(self, one: Exported) -> None:
        missing = self._open.get(one.study, set())
        missing.discard(one.uid)
        if not missing and self._open.pop(one.study, None) is not None:
            self.told_studies += 1

    def waits_for(self, study: int) -> bool:
        """Whether something of an exported study has not been told of."""
        return study in self._open

    @property
    def studies(self) -> int:
        return self.told_studies + len(self._open)

    @property
    def series(self) -> int:
        return len(self._exported)

    @property
    def files(self) -> int:
        return sum(one.files for one in self._exported.values())

    def outcomes(self) -> dict[str, int]:
        """Current findings by outcome and reason, the most frequent first."""
        ends = Counter(": ".join(filter(None, (told.outcome, told.reason))) for _, told, _ in self._known())
        return dict(ends.most_common())

    def last_slice_to_flag_s(self) -> list[float]:
        """From the end of the last file's writing to the result of each series that is flagged."""
        return sorted(
            at - one.last_file_at for one, record, at in self._known() if record.outcome is Outcome.FLAGGED
        )

    def untold(self) -> int:
        """How many exported series have no finding."""
        return len(self._exported.keys() - self._current.keys())

    def foreign(self) -> int:
        """How many findings are of what was not exported here."""
        return len(self._current.keys() - self._exported.keys())

    def repeats(self) -> int:
        """How many series repeat one that was exported before."""
        return self.series - len({one.original for one in self._exported.values()})

    def differing(self) -> list[str]:
        """The originals whose repeats did not all end alike, to the last bit of probability and heatmap."""
        ends: defaultdict[str, set[tuple[object, ...]]] = defaultdict(set)
        for one, record, _ in self._known():
            ends[one.original].add(
                (record.outcome, record.reason, record.probability, record.heatmap, record.slices)
            )
        return sorted(original for original, found in ends.items() if len(found) > 1)

    def _known(self) -> Iterable[tuple[Exported, SeriesRecord, float]]:
        return ((one, *self._current[uid]) for uid, one in self._exported.items() if uid in self._current)
