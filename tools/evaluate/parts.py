"""Which cases are compared: all, by group of the negatives, by subgroup, within the values of a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tools.evaluate.cases import GROUP, Cases, Mask
from tools.problem import WrongInput

_MOST: Final = 12
"""A column with more values is none of groups."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the cases, with a name."""

    name: str
    mask: Mask


def everything(cases: Cases) -> Part:
    groups = GROUP in cases.columns
    positives = _joined(cases, cases.positive) if groups else ""
    negatives = _joined(cases, ~cases.positive) if groups else ""
    return Part(
        f"{positives or 'all positives'} against {negatives or 'all negatives'}", cases.positive | True
    )


def by_negative_group(cases: Cases) -> list[Part]:
    """The positives against each group of negatives, where there are several."""
    if GROUP not in cases.columns:
        return []
    groups = _values(cases, GROUP, ~cases.positive)
    name = _joined(cases, cases.positive) or "all positives"
    column = cases.column(GROUP)
    if len(groups) < 2:
        return []
    return [Part(f"{name} against {one}", cases.positive | (column == one)) for one in groups]


def subgroups_of_positives(cases: Cases, wanted: Sequence[str]) -> list[Part]:
    """The positives of each subgroup, for `COLUMN` of every value, for `COLUMN=VALUE` of this one."""
    parts = []
    for one in wanted:
        name, given, value = one.partition("=")
        column = cases.column(name)
        values = _values(cases, name, cases.positive)
        if given and value not in values:
            raise WrongInput(
                f"--subgroup {one}: no positive case has '{value}' in column '{name}', only"
                f" {', '.join(values) or 'empty cells'}: name one of these."
            )
        parts += [
            Part(f"{name} = {found}", cases.positive & (column == found))
            for found in ([value] if given else values)
        ]
    return parts


def against_all_negatives(cases: Cases, subgroup: Part) -> Part:
    return Part(f"positives with {subgroup.name}", subgroup.mask | ~cases.positive)


def within(cases: Cases, wanted: Sequence[str]) -> list[Part]:
    """The cases of each value of these columns, positives and negatives both."""
    return [
        Part(f"within {name} = {value}", cases.column(name) == value)
        for name in wanted
        for value in _values(cases, name, cases.positive | True)
    ]


def _joined(cases: Cases, mask: Mask) -> str:
    return " + ".join(_values(cases, GROUP, mask))


def _values(cases: Cases, name: str, mask: Mask) -> list[str]:
    """In the order of the alphabet; an empty cell belongs nowhere."""
    values = sorted({str(one) for one in cases.column(name)[mask]} - {""})
    if len(values) > _MOST:
        raise WrongInput(
            f"Column '{name}' has {len(values)} values: at most {_MOST} can be compared; merge or rename it."
        )
    return values
