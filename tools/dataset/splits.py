"""Which cases teach, which choose, which judge. Pure functions.

A patient is in one part alone, and so is a centre that is held out: a model that has seen a patient or learnt
a scanner's hand is judged too well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.dataset.cases import PATIENT
from tools.dataset.volumes import Made
from tools.problem import WrongInput


class Leak(WrongInput):
    """A patient is in two parts, or a series there twice; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Split:
    """`train` teaches, `validate` chooses when to stop and where to flag, `test` judges."""

    train: tuple[Made, ...]
    validate: tuple[Made, ...]
    test: tuple[Made, ...]


def split(
    cases: Sequence[Made], *, validate: float, test: float = 0.0, test_centre: str | None = None, seed: int
) -> Split:
    """Patients drawn by the seed, as many of each class as their share; all of `test_centre` judge.

    A patient with a positive series is positive. The same cases and seed give the same parts, whatever their
    order. Raises Leak.
    """
    parts: tuple[list[Made], list[Made], list[Made]] = [], [], []
    patients: defaultdict[str, list[Made]] = defaultdict(list)
    for one in sorted(cases, key=lambda made: made.series_uid):
        if test_centre is not None and one.case.centre == test_centre:
            parts[2].append(one)
        else:
            patients[one.patient].append(one)
    rng = np.random.default_rng((seed, 0x5117))
    for label in (0, 1):
        of_class = [
            mine for _, mine in sorted(patients.items()) if max(one.case.label for one in mine) == label
        ]
        order = rng.permutation(len(of_class))
        held = round(validate * len(of_class)), round(test * len(of_class))
        for place, index in enumerate(order):
            part = 1 if place < held[0] else 2 if place < sum(held) else 0
            parts[part].extend(of_class[index])
    found = Split(*(tuple(part) for part in parts))
    check(found)
    return found


def check(parts: Split) -> None:
    """Raises Leak where a patient is in more than one part, or a series is there twice."""
    named = {"train": parts.train, "validation": parts.validate, "test": parts.test}
    patients: dict[str, tuple[str, str]] = {}
    for name, cases in named.items():
        for one in cases:
            before, other = patients.setdefault(one.patient, (name, one.case.name))
            if before != name:
                raise Leak(
                    f"{one.case.name} in the {name} set and {other} in the {before} set are of one"
                    " patient: leave one out, give both the same centre, or tell patients apart in a column"
                    f" '{PATIENT}'."
                )
    series: dict[str, tuple[str, str]] = {}
    for name, cases in named.items():
        for one in cases:
            if one.series_uid in series:
                before, other = series[one.series_uid]
                raise Leak(
                    f"{one.case.name} in the {name} set and {other} in the {before} set are of one"
                    " series: a series counts once, so delete the line of one."
                )
            series[one.series_uid] = name, one.case.name
