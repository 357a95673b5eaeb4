"""What a finished network is worth on cases that did not teach it, and where it flags."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from appliance import durable
from tools.dataset.volumes import Made
from tools.evaluate.calibration import calibration
from tools.evaluate.cases import Mask, Scores
from tools.evaluate.delong import auc_with_interval
from tools.evaluate.operating_point import at_threshold, reaching
from tools.problem import WrongInput
from tools.train.parts import Parts

HALF: Final = 0.5
"""The paper's threshold."""


def judged(
    parts: Parts, scored: Callable[[Sequence[Made]], Scores], sensitivity: float | None, out: Path
) -> dict[str, Any]:
    """The operating point, and what it and the AUC are on the validation and test sets, whose scores go to
    `validation.csv` and `test.csv` in a folder."""
    cases = {"validation": parts.split.validate, "test": parts.split.test}
    scores = {name: scored(own) for name, own in cases.items() if own}
    threshold = (
        operating_point(scores["validation"], cases["validation"], sensitivity)
        if "validation" in scores
        else HALF
    )
    finding: dict[str, Any] = {"operating_point": threshold}
    for name, found in scores.items():
        write_scores(out / f"{name}.csv", found, cases[name])
        finding[name] = measured(found, cases[name], threshold)
    return finding


def check_wishes(parts: Parts, early_stop: int | None, sensitivity: float | None) -> None:
    """Raises WrongInput where the validation set cannot decide what it is wanted for."""
    validate = parts.split.validate
    positive = sum(one.case.label for one in validate)
    wish = "--early-stop" if early_stop is not None and not validate else None
    wish = "--want-sensitivity" if sensitivity is not None and not positive else wish
    if wish is not None:
        raise WrongInput(
            f"{wish} is decided by the validation set, which has {len(validate)} series, {positive} of them"
            f" positive: raise --validate, or leave {wish} out."
        )


def operating_point(scores: Scores, cases: Sequence[Made], sensitivity: float | None) -> float:
    """The highest one that reaches this sensitivity on the validation set; 0.5 where none is wanted."""
    positive = _positive(cases)
    if sensitivity is None or not positive.any():
        return HALF
    reached = reaching(scores, positive, "sensitivity", sensitivity).reached
    assert reached is not None, "every sensitivity is reached from some score down"
    return min(max(reached.threshold, 1e-12), 1 - 1e-12)


def measured(scores: Scores, cases: Sequence[Made], threshold: float) -> dict[str, Any] | None:
    """AUC with DeLong's interval, sensitivity and specificity with Wilson's and Clopper and Pearson's, Brier
    score; None without cases of both classes."""
    positive = _positive(cases)
    if not positive.any() or positive.all():
        return None
    auc, interval = auc_with_interval(scores, positive)
    return {
        "series": len(cases),
        "positive": int(positive.sum()),
        "auc": auc,
        "auc_95": interval and asdict(interval),
        "at": asdict(at_threshold(scores, positive, threshold)),
        "brier": calibration(scores, positive).brier,
    }


def _positive(cases: Sequence[Made]) -> Mask:
    return np.array([bool(one.case.label) for one in cases])


def write_scores(path: Path, scores: Scores, cases: Sequence[Made]) -> None:
    """As `scanlight evaluate` reads them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("id", "label", "group", "centre", "probability"))
    for one, score in zip(cases, scores, strict=True):
        case = one.case
        writer.writerow((case.name, case.label, case.group, case.centre, repr(float(score))))
    durable.write(path, text.getvalue().encode())
