"""What a study is, from its series: its state, its outcome and the reading that it shows. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from appliance.findings.record import SeriesRecord
from appliance.imaging.kernels import rank_of
from appliance.journal import FindingRow, Mark, StudySeriesRow
from appliance.reasons import Outcome

UID_END: Final = 6
"""So much of a UID tells people one from another."""


class StudyState(StrEnum):
    """In order of priority: what somebody should look at, what is not over yet, what is."""

    SUSPECT = "suspect"
    NOT_ANALYSED = "not_analysed"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    ACKNOWLEDGED = "acknowledged"
    SEEN = "seen"
    NO_FLAG = "no_flag"
    SKIPPED = "skipped"


_WAITS: Final = {
    Outcome.FLAGGED: StudyState.SUSPECT,
    Outcome.NOT_ANALYSED: StudyState.NOT_ANALYSED,
    Outcome.FAILED: StudyState.FAILED,
}
_OVER: Final = {
    Outcome.FLAGGED: StudyState.ACKNOWLEDGED,
    Outcome.NOT_ANALYSED: StudyState.SEEN,
    Outcome.FAILED: StudyState.SEEN,
    Outcome.NOT_FLAGGED: StudyState.NO_FLAG,
    Outcome.SKIPPED: StudyState.SKIPPED,
}
OPEN: Final = frozenset(_WAITS.values())

_WEIGHT: Final = (
    Outcome.FLAGGED,
    Outcome.NOT_ANALYSED,
    Outcome.FAILED,
    Outcome.NOT_FLAGGED,
    Outcome.SKIPPED,
)


@dataclass(frozen=True, slots=True)
class Study:
    """A study by its number, the smallest id of its series."""

    number: int
    series: tuple[StudySeriesRow, ...]

    @property
    def newest(self) -> FindingRow | None:
        """The finding that was recorded last."""
        return max((row for one in self.series for row in one.findings), key=lambda row: row.id, default=None)

    @property
    def at(self) -> str:
        """When something was last found of it, or it was seen first (UTC)."""
        newest = self.newest
        return newest.recorded_at if newest else min(one.first_seen_at for one in self.series)

    @property
    def label(self) -> str:
        return next((one.label for one in self.series if one.label), "")

    @property
    def outcome(self) -> Outcome | None:
        """The weightiest among the current findings."""
        found = self._current()
        return next((outcome for outcome in _WEIGHT if outcome in found), None)

    @property
    def kinds(self) -> set[Outcome]:
        """The outcomes that people would look for it under: what it is shown as, and what was not read."""
        if self.outcome is None:
            return set()
        shown = Outcome.FLAGGED if self.flagged_ever else self.outcome
        return {shown, *(self._current() & {Outcome.NOT_ANALYSED, Outcome.FAILED})}

    def _current(self) -> set[Outcome]:
        return {one.findings[-1].outcome for one in self.series if one.findings}

    @property
    def unseen(self) -> list[FindingRow]:
        """What was not analysed or failed and nobody has marked as seen."""
        rows = (row for one in self.series for row in one.findings if row.attention)
        return [row for row in rows if row.outcome is not Outcome.FLAGGED]

    @property
    def flagged_ever(self) -> bool:
        return any(row.outcome is Outcome.FLAGGED for one in self.series for row in one.findings)

    @property
    def in_flight(self) -> int:
        """How many of its series are on their way to a finding."""
        return sum(not one.ended for one in self.series)

    @property
    def state(self) -> StudyState:
        waiting = {row.outcome for one in self.series for row in one.findings if row.attention}
        open_ = next((state for outcome, state in _WAITS.items() if outcome in waiting), None)
        if open_ is not None:
            return open_
        if self.in_flight:
            return StudyState.IN_PROGRESS
        if self.flagged_ever:
            return StudyState.ACKNOWLEDGED
        return _OVER[self.outcome or Outcome.SKIPPED]

    def marked(self, action: Mark) -> tuple[str, str] | None:
        """When somebody last did this about findings that it still covers, and who."""
        marks = [row.marked for one in self.series for row in one.findings if row.marked]
        return max(((at, name) for done, at, name in marks if done is action), default=None)

    def shown(self, records: Mapping[int, SeriesRecord]) -> StudySeriesRow | None:
        """The series whose reading the study shows: of those that have its outcome the best-ranked.

        `records` are the current findings by the ids of their series.
        """
        decide = [one for one in self.series if one.findings and one.findings[-1].outcome is self.outcome]
        return max(decide, key=lambda one: _rank(one, records.get(one.id)), default=None)


def studies(rows: Iterable[StudySeriesRow]) -> dict[int, Study]:
    """The studies of these series, by number."""
    of: dict[int, list[StudySeriesRow]] = {}
    for row in rows:
        of.setdefault(row.study, []).append(row)
    return {number: Study(number, tuple(series)) for number, series in of.items()}


def earlier_flag(series: StudySeriesRow) -> bool:
    """Whether an earlier revision was flagged and the current one is not, so that the study stays suspect."""
    return bool(series.findings) and (
        series.findings[-1].outcome is not Outcome.FLAGGED
        and any(row.outcome is Outcome.FLAGGED for row in series.findings)
    )


def time_to_flag_s(record: SeriesRecord | None) -> float | None:
    """Seconds from the last slice to the flag; None without a flag, or where the clock was set back."""
    if record is None or record.outcome is not Outcome.FLAGGED:
        return None
    if record.last_slice_at is None or record.recorded_at is None:
        return None
    took = datetime.fromisoformat(record.recorded_at) - datetime.fromisoformat(record.last_slice_at)
    return round(took.total_seconds(), 3) if took.total_seconds() >= 0 else None


def _rank(series: StudySeriesRow, record: SeriesRecord | None) -> tuple[int, float, int, int]:
    """Soft before unknown before sharp, then the thinner slices, then more of them, then the first seen."""
    spacing = record.spacing_mm[0] if record and record.spacing_mm else float("inf")
    return rank_of(series.kernel), -spacing, (record.slices if record else 0) or 0, -series.id
