"""Scores of a folder of DICOM series, by the appliance's own reading, joined with labels."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.findings.record import SeriesRecord
from appliance.imaging.isolation import SlicePool
from appliance.offline import TreeReader
from appliance.reading import Rules, WrongModel, rules_for
from appliance.reasons import Outcome
from appliance.records import Arrival, Slice, SlicePlan
from engines.bundle import BundleError, load_model
from engines.protocol import DeviceLost, Engine, EngineError
from engines.runner import open_engine
from tools.evaluate.cases import Cases, Unscored, cases_of, read_ids, read_labels
from tools.problem import WrongInput
from tools.sheet import Row, Sheet

_SCORED = (Outcome.FLAGGED, Outcome.NOT_FLAGGED)


@dataclass(frozen=True, slots=True)
class Tree:
    """What reading a folder gave. `files` are those of each series, `operating_point` flags."""

    records: tuple[SeriesRecord, ...]
    files: Mapping[str, frozenset[Path]]
    operating_point: float
    model: str
    model_sha256: str


@dataclass(frozen=True, slots=True)
class Joined:
    """`scores` has a row for each case: id, label, probability and the other columns of the labels."""

    cases: Cases
    not_scored: tuple[Unscored, ...]
    without_label: tuple[Unscored, ...]
    scores: tuple[Mapping[str, str], ...]


def read_tree(root: Path, model: Path, progress: Callable[[str, int, int], None]) -> Tree:
    """Reads every series below a folder. Raises WrongInput where the model cannot be used."""
    try:
        engine = open_engine(load_model(model))
        rules = rules_for(engine.spec)
    except (BundleError, DeviceLost, EngineError, WrongModel) as error:
        raise WrongInput(str(error)) from None
    try:
        return score_tree(root, engine, rules, progress)
    except DeviceLost as error:
        raise WrongInput(str(error)) from None
    finally:
        engine.close()


def score_tree(root: Path, engine: Engine, rules: Rules, progress: Callable[[str, int, int], None]) -> Tree:
    """Reads every series below a folder with an engine that is open, by a site's rules."""
    workers = max(1, (os.cpu_count() or 2) - 1)
    pool = _NotingPool(workers)
    try:
        reader = TreeReader(engine, rules, pool, 2 * workers, progress=progress)
        records = tuple(reader.records([root.resolve()]))
    finally:
        pool.close()
    files = {uid: frozenset(paths) for uid, paths in pool.files.items()}
    spec = engine.spec
    return Tree(records, files, rules.operating_point, f"{spec.name} {spec.version}", engine.digest)


class _NotingPool(SlicePool):
    """Also notes which files each series has, since a record does not name them."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.files: dict[str, set[Path]] = {}

    def read_all(
        self, arrivals: Iterable[Arrival], plan: SlicePlan, window: int
    ) -> Iterator[tuple[Arrival, Slice | BaseException]]:
        for arrival, result in super().read_all(arrivals, plan, window):
            if isinstance(result, Slice):
                self.files.setdefault(result.header.series_uid, set()).add(Path(arrival.path))
            yield arrival, result


def join(tree: Tree, root: Path, sheet: Sheet, positive: str | None) -> Joined:
    """Labels with series, by `series_uid` or by `path`; what is left on either side is named."""
    labels = read_labels(sheet, positive)
    find = _finder(tree, root, sheet)
    read_ids(sheet, sheet.rows)
    used: dict[int, Row] = {}
    scored: list[tuple[Row, bool, float]] = []
    missing: list[Unscored] = []
    for row, label in zip(sheet.rows, labels, strict=True):
        name = row.cells[find.column]
        found = find(name)
        record = _the_one(found, sheet, row, find.column)
        for one in found:
            if id(one) in used:
                raise sheet.problem(
                    row, find.column, f"it is the series of line {used[id(one)].line} already: delete one."
                )
        used |= {id(one): row for one in found}
        if record is not None and record.probability is not None:
            scored.append((row, label, record.probability))
        else:
            missing.append(_unscored(name, label, found))
    if not scored:
        # Names of folders are often those of patients.
        raise WrongInput(
            f"None of the {len(labels)} labelled series in {root} was scored; that of line"
            f" {sheet.rows[0].line}: {missing[0].why}. See scanlight read {root}."
        )
    rows = tuple(row for row, _, _ in scored)
    cases = cases_of(sheet, rows, [score for _, _, score in scored], [label for _, label, _ in scored])
    unlabelled = tuple(
        Unscored(one.series_uid or one.path or "", None, _why(one), one.detail)
        for one in tree.records
        if id(one) not in used
    )
    table = tuple(
        {**row.cells, "label": str(int(label)), "probability": repr(score)} for row, label, score in scored
    )
    return Joined(cases, tuple(missing), unlabelled, table)


@dataclass(frozen=True, slots=True)
class _Finder:
    """The records that a cell of `column` names; `root` is what paths are relative to."""

    column: str
    records: Mapping[str, Sequence[SeriesRecord]]
    root: Path | None = None

    def __call__(self, name: str) -> Sequence[SeriesRecord]:
        if self.root is not None:
            name = str((self.root / name.replace("\\", "/")).resolve())
        return self.records.get(name, ())


def _finder(tree: Tree, root: Path, sheet: Sheet) -> _Finder:
    found: defaultdict[str, list[SeriesRecord]] = defaultdict(list)
    column = naming_column(sheet)
    if column == "series_uid":
        for record in tree.records:
            found[record.series_uid or ""].append(record)
        return _Finder(column, found)
    for record in tree.records:
        for path in _with_folders(tree, record):
            found[str(path)].append(record)
    return _Finder(column, found, root.resolve())


def naming_column(sheet: Sheet) -> str:
    """What names the series of a label. Raises WrongInput where nothing does."""
    if "series_uid" in sheet.columns:
        return "series_uid"
    sheet.needs("path", "or series_uid, to find the series of a label")
    return "path"


def _with_folders(tree: Tree, record: SeriesRecord) -> set[Path]:
    """A record's files and the folders that they are in."""
    if record.series_uid is not None:
        files: Iterable[Path] = tree.files.get(record.series_uid, ())
    else:
        files = [Path(record.path)] if record.path else []
    return {place for file in files for place in (file, *file.parents)}


def _the_one(found: Sequence[SeriesRecord], sheet: Sheet, row: Row, column: str) -> SeriesRecord | None:
    scored = [one for one in found if one.outcome in _SCORED]
    if len(scored) > 1:
        raise sheet.problem(
            row,
            column,
            f"it holds {len(scored)} scored series: a case has one, so name its folder.",
        )
    return scored[0] if scored else None


def _unscored(name: str, label: bool, found: Sequence[SeriesRecord]) -> Unscored:
    if not found:
        return Unscored(name, int(label), "no such series in the folder", None)
    # A localizer beside the chest is not why the chest has no score.
    worst = [one for one in found if one.outcome is not Outcome.SKIPPED] or list(found)
    details = " ".join(one.detail for one in worst if one.detail) or None
    return Unscored(name, int(label), "; ".join(dict.fromkeys(_why(one) for one in worst)), details)


def _why(record: SeriesRecord) -> str:
    return ": ".join(word.replace("_", " ") for word in (record.outcome, record.reason) if word)
