"""The site's own labelled cases, against limits that were set before anybody saw a score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.reading import Rules
from engines.protocol import Engine
from tools.doctor.check import Check, failed, judged, not_done
from tools.evaluate.cases import read_ids, read_labels
from tools.evaluate.images import Joined, join, naming_column, score_tree
from tools.evaluate.intervals import Proportion
from tools.evaluate.operating_point import at_threshold
from tools.problem import WrongInput
from tools.sheet import read_sheet

SENSITIVITY: Final = "Sensitivity on our own cases"
SPECIFICITY: Final = "Specificity on our own cases"
READ: Final = "Own cases that are read"
_ALL: Final = "all"
_UNREAD: Final = (
    "scanlight read DIR says why: take off the table what is not for the model, export the rest again"
)


@dataclass(frozen=True, slots=True)
class LabelledCases:
    """A folder of series with a table of labels, and the least that is asked of them, 0 to 1."""

    images: Path
    labels: Path
    min_sensitivity: float
    min_specificity: float


def check_labels(asked: LabelledCases) -> None:
    """Before anything takes minutes. Raises WrongInput where the table is wrong."""
    sheet = read_sheet(asked.labels)
    labels = read_labels(sheet, None)
    naming_column(sheet)
    read_ids(sheet, sheet.rows)
    for wanted, rate in ((True, "sensitivity"), (False, "specificity")):
        if wanted not in labels:
            raise WrongInput(
                f"{asked.labels}: no case has label {int(wanted)}: add some, for there is no {rate} without."
            )


def cases(
    asked: LabelledCases | None, engine: Engine, rules: Rules, progress: Callable[[str, int, int], None]
) -> Iterator[Check]:
    """Before them, `check_labels`."""
    if asked is None:
        why, how = "no labelled cases were named", "name some: --cases DIR --labels CSV with both limits"
        yield not_done(SENSITIVITY, why, "set beforehand: --min-sensitivity", how)
        yield not_done(SPECIFICITY, why, "set beforehand: --min-specificity", how)
        return
    try:
        sheet = read_sheet(asked.labels)
        joined = join(score_tree(asked.images, engine, rules, progress), asked.images, sheet, None)
    except WrongInput as error:
        yield failed(READ, str(error), _ALL, _UNREAD)
        return
    yield from judge(joined, asked, rules.operating_point)


def judge(joined: Joined, asked: LabelledCases, operating_point: float) -> Iterator[Check]:
    """The checks of cases that were scored."""
    found = at_threshold(joined.cases.scores, joined.cases.positive, operating_point)
    scored, of = len(joined.cases.scores), len(joined.cases.scores) + len(joined.not_scored)
    yield judged(
        READ,
        scored == of,
        f"{scored} of {of}" + "".join(f"; {one.why}" for one in joined.not_scored[:3]),
        _ALL,
        _UNREAD,
    )
    for name, rate, least, word in (
        (SENSITIVITY, found.sensitivity, asked.min_sensitivity, "positives flagged"),
        (SPECIFICITY, found.specificity, asked.min_specificity, "negatives not flagged"),
    ):
        assert rate is not None
        yield judged(
            name,
            rate.value >= least,
            f"{_percent(rate.value)}, {rate.count} of {rate.of} {word} at {operating_point:g};"
            f" {_intervals(rate)}",
            f"at least {_percent(least)}",
            "do not use it on patients: choose an operating point on other cases (scanlight evaluate"
            " --want-sensitivity) or another model, and test again on cases that neither has seen",
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _intervals(rate: Proportion) -> str:
    wilson, exact = rate.wilson, rate.clopper_pearson
    return (
        f"95 % {100 * wilson.low:.1f} to {_percent(wilson.high)} (Wilson), {100 * exact.low:.1f} to"
        f" {_percent(exact.high)} (Clopper-Pearson)"
    )
