"""What became of each series that was exported, and whether that is good enough. Pure functions.

A finding is premature when its reading key is not that of the files as they were in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

from appliance.findings.record import SeriesRecord
from appliance.reasons import Outcome
from tools.bench.completeness_arrivals import Pattern
from tools.bench.completeness_exporter import Exported

FLAG_BAR_S: Final = 2.5


@dataclass(frozen=True, slots=True)
class Told:
    """A finding in the results folder; `at` on the monotonic clock."""

    record: SeriesRecord
    at: float


@dataclass(frozen=True, slots=True)
class Row:
    """One series. Seconds are from its last slice, None for what did not happen.

    `thrown_away` counts the readings that were never told, as far as they were seen; `revised` has the
    outcomes of premature findings that a later one supersedes. `outcome` is that of the current finding,
    `final` whether this is one of all the slices that came.
    """

    pattern: str
    place: str
    source: str
    slices: int
    outcome: str | None
    to_complete_s: float | None
    to_flag_s: float | None
    to_no_flag_s: float | None
    thrown_away: int
    revised: tuple[str, ...]
    no_flag_delivered_on_partial: int
    final: bool


def row_of(
    pattern: Pattern,
    source: str,
    slices: int,
    exported: Exported,
    told: Sequence[Told],
    thrown_away: int,
    final_key: str | None,
) -> Row:
    """`told` are the series' findings in the order of revisions, `final_key` is of the files in the end."""
    current = told[-1] if told else None
    outcome = current.record.outcome if current else None
    delay = round(current.at - exported.last_slice, 3) if current else None
    premature = [one.record for one in told if one.record.reading_key != final_key]
    partial = premature if pattern.whole else [one.record for one in told]
    if pattern.tells_part:
        partial = []
    complete_at = current.record.complete_at if current else None
    to_complete = None
    if complete_at is not None and pattern.place != "clock":
        to_complete = round(datetime.fromisoformat(complete_at).timestamp() - exported.last_slice_at, 3)
    return Row(
        pattern=pattern.name,
        place=pattern.place,
        source=source,
        slices=slices,
        outcome=outcome,
        to_complete_s=to_complete,
        to_flag_s=delay if outcome is Outcome.FLAGGED else None,
        to_no_flag_s=delay if outcome is Outcome.NOT_FLAGGED else None,
        thrown_away=thrown_away,
        revised=tuple(one.outcome or "" for one in premature if current and one is not current.record),
        no_flag_delivered_on_partial=sum(one.outcome is Outcome.NOT_FLAGGED for one in partial),
        final=current is not None and current.record.reading_key == final_key,
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """`met` is None where the bar does not apply."""

    name: str
    value: float | None
    bar: float
    met: bool | None


def bars(rows: Sequence[Row], *, defaults: bool) -> list[Bar]:
    """The bars over all rows; a delay is judged with the default settings alone."""
    to_flag = median_of(row.to_flag_s for row in rows if row.place != "share")
    partial = sum(row.no_flag_delivered_on_partial for row in rows)
    unsuperseded = sum(not row.final for row in rows)
    fast = to_flag is not None and to_flag <= FLAG_BAR_S
    return [
        Bar("median_last_slice_to_flag_s", to_flag, FLAG_BAR_S, fast if defaults else None),
        Bar("no_flag_delivered_on_partial", partial, 0, partial == 0),
        Bar("unsuperseded", unsuperseded, 0, unsuperseded == 0),
    ]


def median_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 3) if known else None
