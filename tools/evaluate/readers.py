"""People who read the same cases, given as counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tools.evaluate.cases import Mask, Scores
from tools.evaluate.intervals import Proportion, proportion
from tools.evaluate.operating_point import AtThreshold, reaching
from tools.problem import WrongInput
from tools.sheet import Row, Sheet

_COUNTS: Final = ("tp", "fn", "tn", "fp")


@dataclass(frozen=True, slots=True)
class Reader:
    name: str
    tp: int
    fn: int
    tn: int
    fp: int
    sensitivity: Proportion
    specificity: Proportion


@dataclass(frozen=True, slots=True)
class AgainstReader:
    """The model at the threshold that reaches the reader's specificity, and at that for the sensitivity.

    `same_numbers`: the reader's positives and negatives are as many as the model's.
    """

    reader: Reader
    same_numbers: bool
    at_specificity: AtThreshold | None
    at_sensitivity: AtThreshold | None


def read_readers(sheet: Sheet) -> tuple[Reader, ...]:
    sheet.needs("name", "of the reader")
    for column in _COUNTS:
        sheet.needs(column, "a count of cases")
    return tuple(_reader(sheet, row) for row in sheet.rows)


def _reader(sheet: Sheet, row: Row) -> Reader:
    tp, fn, tn, fp = (_count(sheet, row, column) for column in _COUNTS)
    sensitivity, specificity = proportion(tp, tp + fn), proportion(tn, tn + fp)
    if sensitivity is None or specificity is None:
        raise WrongInput(
            f"{sheet.path}, line {row.line}: {row.cells['name']} has read no cases of one class:"
            " tp + fn and tn + fp must be 1 or more."
        )
    return Reader(row.cells["name"], tp, fn, tn, fp, sensitivity, specificity)


def _count(sheet: Sheet, row: Row, column: str) -> int:
    text = row.cells[column]
    if not (text.isascii() and text.isdigit()):
        raise sheet.problem(row, column, f"'{text}' is no count: enter a whole number of cases.")
    return int(text)


def against(reader: Reader, scores: Scores, positive: Mask) -> AgainstReader:
    positives = int(positive.sum())
    return AgainstReader(
        reader,
        (reader.tp + reader.fn, reader.tn + reader.fp) == (positives, positive.size - positives),
        reaching(scores, positive, "specificity", reader.specificity.value).reached,
        reaching(scores, positive, "sensitivity", reader.sensitivity.value).reached,
    )
