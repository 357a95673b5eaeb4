"""The cases of an evaluation: scores with labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tools.problem import WrongInput
from tools.sheet import Row, Sheet

Scores = NDArray[np.float64]
Mask = NDArray[np.bool_]

GROUP: Final = "group"
_LABEL: Final = "label"
_PROBABILITY: Final = "probability"
_IDS: Final = ("id", "series_uid", "path")
_NAMED: Final = 3
"""So many are named of those that are too many to name."""


@dataclass(frozen=True, slots=True)
class Cases:
    """In the order of their file. `ids` is empty where it names none; `columns` are the texts besides."""

    scores: Scores
    positive: Mask
    ids: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]

    def column(self, name: str) -> NDArray[np.str_]:
        """Raises WrongInput where there is none of this name."""
        if name.lower() not in self.columns:
            raise WrongInput(
                f"There is no column '{name}' to make subgroups of; there is"
                f" {', '.join(self.columns) or 'none'}: name one of them or add it."
            )
        return np.array(self.columns[name.lower()])


@dataclass(frozen=True, slots=True)
class Unscored:
    """A case or series without a part in the numbers: its outcome and reason, or what is missing."""

    name: str
    label: int | None
    why: str
    detail: str | None


def read_cases(sheet: Sheet, positive: str | None) -> Cases:
    """The cases of a file of scores; `positive` is the group that counts as positive, not the label."""
    sheet.needs(_PROBABILITY, "the scores")
    labels = read_labels(sheet, positive)
    scores = _scores(sheet)
    return cases_of(sheet, sheet.rows, scores, labels)


def cases_of(sheet: Sheet, rows: tuple[Row, ...], scores: list[float], labels: list[bool]) -> Cases:
    """These rows with these scores and labels. Raises WrongInput where a class has no case."""
    for wanted, word in ((True, "positive"), (False, "negative")):
        if wanted not in labels:
            raise WrongInput(
                f"{sheet.path}: none of the {len(rows)} scored cases is labelled {word}: an evaluation needs"
                " cases of both classes."
            )
    own = (*_IDS, _PROBABILITY, _LABEL)
    texts = {name: tuple(row.cells[name] for row in rows) for name in sheet.columns if name not in own}
    return Cases(np.array(scores), np.array(labels), read_ids(sheet, rows), texts)


def read_labels(sheet: Sheet, positive: str | None) -> list[bool]:
    """The class of each row, by its label or its group."""
    if positive is None:
        sheet.needs(_LABEL, "1 or 0; where groups decide, say which is positive with --positive")
        return [_label(sheet, row) for row in sheet.rows]
    sheet.needs(GROUP, "--positive names one of its values")
    by_group = [row.cells[GROUP].casefold() == positive.casefold() for row in sheet.rows]
    for row, found in zip(sheet.rows, by_group, strict=True):
        if not row.cells[GROUP]:
            raise sheet.problem(row, GROUP, "it is empty: enter the group of the case.")
        if _LABEL in sheet.columns and _label(sheet, row) != found:
            raise sheet.problem(
                row,
                _LABEL,
                f"{row.cells[_LABEL]} contradicts group {row.cells[GROUP]} with --positive {positive}:"
                " correct one of them or delete the column label.",
            )
    if not any(by_group):
        groups = sorted({row.cells[GROUP] for row in sheet.rows})
        raise WrongInput(
            f"{sheet.path}: no case is of the group '{positive}', only of {', '.join(groups)}:"
            " name one of these with --positive."
        )
    return by_group


def _label(sheet: Sheet, row: Row) -> bool:
    text = row.cells[_LABEL]
    if text not in ("0", "1"):
        raise sheet.problem(row, _LABEL, "it is neither 1 nor 0: correct it.")
    return text == "1"


def _scores(sheet: Sheet) -> list[float]:
    scores = []
    for row in sheet.rows:
        score = sheet.number(row, _PROBABILITY)
        if not 0 <= score <= 1:
            raise sheet.problem(
                row, _PROBABILITY, f"{row.cells[_PROBABILITY]} is not between 0 and 1: correct it."
            )
        scores.append(score)
    return scores


def read_ids(sheet: Sheet, rows: tuple[Row, ...]) -> tuple[str, ...]:
    """What names each row, none where there is no column for it."""
    column = next((name for name in _IDS if name in sheet.columns), None)
    return () if column is None else read_names(sheet, rows, column)


def read_names(sheet: Sheet, rows: tuple[Row, ...], column: str) -> tuple[str, ...]:
    """The cells of a column that names each row. Raises WrongInput where one is empty or stands twice."""
    lines: dict[str, int] = {}
    for row in rows:
        name = row.cells[column]
        if not name:
            raise sheet.problem(row, column, "it is empty: name every case, or delete the column.")
        if name in lines:
            raise sheet.problem(
                row,
                column,
                f"it stands in line {lines[name]} already: a case counts once, so delete one.",
            )
        lines[name] = row.line
    return tuple(lines)


def scores_for(cases: Cases, path: object, other: Sheet) -> Scores:
    """Another model's scores of the same cases, in their order; `path` is where the cases are from."""
    other.needs(_PROBABILITY, "the scores")
    ids = read_ids(other, other.rows)
    for names, where in ((cases.ids, path), (ids, other.path)):
        if not names:
            raise WrongInput(
                f"{where}, line 1: there is no column id or series_uid: two models are compared case by case,"
                " so name the cases in both files."
            )
    _same(set(ids), set(cases.ids), f"{other.path} does not have the cases of {path}")
    if _LABEL in other.columns:
        known = dict(zip(cases.ids, cases.positive, strict=True))
        for row, name in zip(other.rows, ids, strict=True):
            if _label(other, row) != known[name]:
                raise other.problem(row, _LABEL, f"'{name}' has another label in {path}: correct one.")
    found = dict(zip(ids, _scores(other), strict=True))
    return np.array([found[name] for name in cases.ids])


def _same(found: set[str], wanted: set[str], sentence: str) -> None:
    missing, foreign = sorted(wanted - found), sorted(found - wanted)
    parts = [
        f"{len(names)} {verb} ({', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''})"
        for names, verb in ((missing, "missing"), (foreign, "not known"))
        if names
    ]
    if parts:
        raise WrongInput(
            f"{sentence}: {' and '.join(parts)}; score the same cases with both and name them alike."
        )
