"""The one record of a series: the same keys on the command line, in the results folder and in the API."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.reasons import Outcome, Reason

SCHEMA = 1


def printable(text: str) -> str:
    """A text that may hold bytes of a file name that are not UTF-8, as it can stand in JSON."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRecord:
    """A series, or a file that belongs to none (`series_uid` None and `path` set). Absent is None.

    `size` and `spacing_mm` are [z, y, x] of the native grid, `orientation` is ImageOrientationPatient;
    `hu_*` are over the native grid before padding is replaced (`hu_sha256`: ascending along the normal,
    little-endian int16). `timings_ms` has the keys parse, volume, queue, infer and record.
    """

    schema: int = SCHEMA
    series_uid: str | None = None
    study_uid: str | None = None
    stack: int = 1
    path: str | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    detail: str | None = None
    in_flight: bool = False
    provisional: bool = False
    revision: int | None = None
    supersedes: str | None = None
    reading_key: str | None = None
    confirmed_at: str | None = None
    slices: int | None = None
    spacing_mm: tuple[float, float, float] | None = None
    size: tuple[int, int, int] | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    transfer_syntax: str | None = None
    hu_min: float | None = None
    hu_max: float | None = None
    hu_mean: float | None = None
    hu_sha256: str | None = None
    probability: float | None = None
    operating_point: float | None = None
    heatmap: str | None = None
    notice: str | None = None
    model: Mapping[str, str] | None = None
    engine: Mapping[str, str] | None = None
    completed_by: str | None = None
    first_seen_at: str | None = None
    last_slice_at: str | None = None
    complete_at: str | None = None
    recorded_at: str | None = None
    timings_ms: Mapping[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """One line of JSON, keys in the order of the class."""
        return json.dumps(self.as_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> SeriesRecord:
        """The record that `to_json` wrote. Keys of a newer schema are left out."""
        known = {field.name for field in dataclasses.fields(cls)}
        values = {key: value for key, value in json.loads(text).items() if key in known}
        for key, kind in (("outcome", Outcome), ("reason", Reason)):
            if values.get(key) is not None:
                values[key] = kind(values[key])
        for key in ("spacing_mm", "size", "orientation"):
            if values.get(key) is not None:
                values[key] = tuple(values[key])
        return cls(**values)
