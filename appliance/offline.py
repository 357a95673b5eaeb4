"""The pipeline once over a tree of DICOM files, without a daemon: for `scanlight read` and for notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.findings.record import SeriesRecord
from appliance.imaging.isolation import SlicePool, WorkerLost
from appliance.imaging.slices import ChangedMeanwhile, NotDicom, Unreadable
from appliance.intake import folder
from appliance.intake.grouping import group
from appliance.reading import ModelInUse, Rules, engine_failed, failed, read_series, record_of, unread_record
from appliance.reasons import Reason
from appliance.records import Arrival, Problem, Slice, SlicePlan
from engines.protocol import Engine, EngineError

Progress = Callable[[str, int, int], None]
"""Told of each file: what is going on, how many files are done, and how many there are."""

_CHANGED = Problem(
    Reason.CHANGED_WHILE_READING, "The file changed while it was read: read it again when it is whole."
)

_CLOSED = Problem(Reason.UNREADABLE, "The folder cannot be opened: check its permissions.")


@dataclass(slots=True)
class TreeReader:
    """Reads headers of all files first, to know which belong together; then one series at a time.

    `window` files are handed to the pool at a time; `others` counts the files that are no DICOM.
    """

    engine: Engine
    rules: Rules
    pool: SlicePool
    window: int
    keep_native: bool = False
    progress: Progress = lambda what, done, total: None
    others: int = 0
    _headers: dict[str, list[Slice]] = field(default_factory=dict)

    def records(self, roots: Sequence[Path]) -> Iterator[SeriesRecord]:
        """The record of every series, and of every file that claims to be DICOM and cannot be read."""
        plan = SlicePlan.for_grid(self.engine.spec.grid, keep_native=self.keep_native)
        closed: list[Path] = []
        arrivals = {one.path: one for root in roots for one in _files(root, closed.append)}
        for path in closed:
            yield unread_record(_CLOSED, path=str(path))
        headers_only = replace(plan, pixels=False)
        found = self.pool.read_all(arrivals.values(), headers_only, self.window)
        for done, (arrival, result) in enumerate(found, 1):
            self.progress("Finding series", done, len(arrivals))
            match result:
                case Slice():
                    self._headers.setdefault(result.header.series_uid, []).append(result)
                case NotDicom():
                    self.others += 1
                case FileNotFoundError():
                    pass
                case _:
                    yield unread_record(_problem(result), path=str(arrival.path))
        total = sum(len(headers) for headers in self._headers.values())
        done = 0
        for headers in self._headers.values():
            slices = []
            for one in self._slices(headers, plan):
                done += 1
                self.progress("Reading", done, total)
                slices.append(one)
            yield self._read(slices, headers[0].header.series_uid)

    def _slices(self, headers: Sequence[Slice], plan: SlicePlan) -> Iterator[Slice]:
        known = {one.arrival.path: one for one in headers}
        for arrival, result in self.pool.read_all((one.arrival for one in headers), plan, self.window):
            if isinstance(result, Slice):
                changed = result.arrival.identity != arrival.identity
                yield replace(result, problem=_CHANGED) if changed else result
            else:
                yield replace(known[arrival.path], problem=_problem(result))

    def _read(self, slices: Sequence[Slice], series_uid: str) -> SeriesRecord:
        # A file that was replaced meanwhile may belong to another series now.
        mine = group(slices).get(series_uid, slices)
        try:
            reading = read_series(mine, self.engine, self.rules)
        except EngineError as error:
            reading = failed(engine_failed(error), mine)
        model = ModelInUse(self.engine.spec, self.engine.digest, self.engine.identity)
        return record_of(reading, mine, model, self.rules)


def _files(root: Path, unreadable: Callable[[Path], None]) -> Iterator[Arrival]:
    if root.is_dir():
        try:
            yield from folder.scan(root, follow_links=True, unreadable=unreadable)
        except OSError:
            unreadable(root)
    else:
        found = folder.arrival(root.resolve())
        if found is not None:
            yield found


def _problem(error: BaseException) -> Problem:
    match error:
        case Unreadable() | WorkerLost():
            return error.problem
        case ChangedMeanwhile():
            return _CHANGED
        case FileNotFoundError():
            return Problem(Reason.FILES_GONE, "The file vanished while it was read: run the command again.")
        case OSError():
            return folder.unreadable(error)
        case _:
            raise error
