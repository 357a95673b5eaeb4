"""The report as titled tables of text, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tools.evaluate.bootstrap import Draws
from tools.evaluate.cases import Unscored
from tools.evaluate.evaluation import Auc, Comparison, Evaluation, OtherModel
from tools.evaluate.intervals import Interval, Proportion
from tools.evaluate.operating_point import AtThreshold, Wanted
from tools.evaluate.readers import AgainstReader
from tools.page import Section

NO_AUC_INTERVAL = (
    "An AUC without an interval: a class has one case, or the placements do not vary, and nothing says how"
    " certain it is."
)


def sections(found: Evaluation, draws: Draws) -> Iterator[Section]:
    """In the order of the report."""
    yield _auc(found.comparisons, draws)
    yield _rates(found.comparisons)
    if found.wanted:
        yield _wanted(found.wanted)
    if found.readers:
        yield _readers(found.readers)
    if found.other:
        yield _other(found.other)
    yield _calibration(found)
    yield _fixed(found)
    yield _as_in_yao(found.comparisons)


def left_out(not_scored: Sequence[Unscored], without_label: Sequence[Unscored]) -> Iterator[Section]:
    """The cases and series that have no part in the numbers."""
    if not_scored:
        yield Section(
            "not-scored",
            f"Labelled and not scored: {len(not_scored)}",
            ("case", "label", "why", "detail"),
            tuple((one.name, str(one.label), one.why, one.detail or "") for one in not_scored),
            ("No number here counts them. On the scanner they would be without a score as well.",),
            4,
        )
    if without_label:
        yield Section(
            "without-label",
            f"Series without a label: {len(without_label)}",
            ("series", "ended as", "detail"),
            tuple((one.name, one.why, one.detail or "") for one in without_label),
            texts=3,
        )


def _auc(comparisons: Sequence[Comparison], draws: Draws) -> Section:
    notes = [
        f"95 % intervals. Bootstrap: percentiles of {draws.resamples} draws within each class,"
        f" seed {draws.seed}."
    ]
    if any(_certain(one.auc) is False for one in comparisons):
        notes.append(NO_AUC_INTERVAL)
    return Section(
        "auc",
        "Area under the ROC curve",
        ("comparison", "positives", "negatives", "AUC", "DeLong", "bootstrap"),
        tuple(
            (
                one.name,
                str(one.positives),
                str(one.negatives),
                f"{one.auc.value:.3f}" if one.auc else "–",
                _interval(one.auc.delong if one.auc else None),
                _interval(one.auc.bootstrap if one.auc else None),
            )
            for one in comparisons
        ),
        tuple(notes),
    )


def _certain(auc: Auc | None) -> bool | None:
    return None if auc is None else auc.delong is not None and auc.bootstrap is not None


def _rates(comparisons: Sequence[Comparison]) -> Section:
    rows = [
        (
            one.name,
            f"{at.threshold:g}",
            _count(at.sensitivity),
            _wilson(at.sensitivity),
            _exact(at.sensitivity),
            _count(at.specificity),
            _wilson(at.specificity),
            _exact(at.specificity),
        )
        for one in comparisons
        for at in one.at
    ]
    return Section(
        "rates",
        "Sensitivity and specificity",
        ("comparison", "threshold", "sensitivity", "Wilson", "Clopper-Pearson", "specificity", "Wilson",
         "Clopper-Pearson"),
        tuple(rows),
        ("A score at or above the threshold is flagged. 95 % intervals, in percent.",),
    )  # fmt: skip


def _wanted(wanted: Sequence[Wanted]) -> Section:
    return Section(
        "operating-point",
        "Operating point for a wanted rate",
        ("wanted", "threshold", "sensitivity", "Wilson", "specificity", "Wilson"),
        tuple((f"{one.rate} {one.value:g}", *_reached(one.reached)) for one in wanted),
        (
            "Chosen on these cases, it looks better on them than it will elsewhere: confirm it on other cases"
            " before it is used.",
            "It is the threshold that reaches what is wanted at the least cost of the other rate.",
        ),
    )


def _reached(at: AtThreshold | None) -> tuple[str, ...]:
    if at is None:
        return ("none reaches it", "–", "–", "–", "–")
    return (
        f"{at.threshold:g}" if float(f"{at.threshold:g}") == at.threshold else repr(at.threshold),
        _count(at.sensitivity),
        _wilson(at.sensitivity),
        _count(at.specificity),
        _wilson(at.specificity),
    )


def _readers(readers: Sequence[AgainstReader]) -> Section:
    notes = [
        "The model: its sensitivity at a threshold with at least the reader's specificity, and the reverse."
        " Counts do not tell who erred on which case, so there is no test here."
    ]
    other = [one.reader.name for one in readers if not one.same_numbers]
    if other:
        notes.append(
            f"{', '.join(other)}: not as many positives and negatives as here. Other cases make rates that"
            " cannot be compared."
        )
    return Section(
        "readers",
        "Against readers",
        ("reader", "sensitivity", "Wilson", "specificity", "Wilson", "model's sensitivity", "Wilson",
         "model's specificity", "Wilson"),
        tuple(
            (
                one.reader.name,
                _count(one.reader.sensitivity),
                _wilson(one.reader.sensitivity),
                _count(one.reader.specificity),
                _wilson(one.reader.specificity),
                *_one_rate(one.at_specificity.sensitivity if one.at_specificity else None),
                *_one_rate(one.at_sensitivity.specificity if one.at_sensitivity else None),
            )
            for one in readers
        ),
        tuple(notes),
    )  # fmt: skip


def _one_rate(rate: Proportion | None) -> tuple[str, str]:
    return _count(rate), _wilson(rate)


def _other(other: OtherModel) -> Section:
    test = other.test
    rows = [
        ("AUC here", f"{test.first:.3f}"),
        (f"AUC of {other.name}", f"{test.second:.3f}"),
        ("difference", f"{test.difference:+.3f}"),
        ("95 % interval of the difference", _interval(test.interval, "+.3f")),
        ("z", "–" if test.z is None else f"{test.z:.3f}"),
        ("p, two-sided", "–" if test.p is None else f"{test.p:.2g}"),
    ]
    for at in other.at:
        rows.append((f"sensitivity of {other.name} at {at.threshold:g}", _rate(at.sensitivity)))
        rows.append((f"specificity of {other.name} at {at.threshold:g}", _rate(at.specificity)))
    notes = ("A large p does not show that two models are alike: the interval says how far they may differ.",)
    if test.z is None:
        notes = ("There is no test: the two AUCs do not vary against each other on these cases.",)
    return Section(
        "other-model", "DeLong's test of two models", ("on the same cases", ""), tuple(rows), notes
    )


def _calibration(found: Evaluation) -> Section:
    made = found.calibration
    return Section(
        "calibration",
        "Calibration",
        ("scores", "cases", "mean score", "share of positives", "Wilson"),
        tuple(
            (
                f"{one.low:.1f} to {one.high:.1f}",
                str(one.positive.of),
                f"{one.mean_score:.3f}",
                _count(one.positive),
                _wilson(one.positive),
            )
            for one in made.bins
        ),
        (
            f"Brier score {made.brier:.4f}; telling the share of positives for every case would give"
            f" {made.brier_of_prevalence:.4f}. Expected calibration error {made.expected_error:.3f}.",
            "All of this holds for this share of positives alone.",
        ),
    )


def _fixed(found: Evaluation) -> Section:
    table = found.fixed
    return Section(
        "fixed",
        "Counts at fixed thresholds (Table 3 of Yao et al.)",
        (
            "threshold",
            f"TP of {table.positives}",
            *(f"TP of {count}, {name}" for name, count in table.subgroups),
            f"TN of {table.negatives}",
        ),
        tuple((f"{row.threshold:.2f}", str(row.tp), *map(str, row.tp_of), str(row.tn)) for row in table.rows),
        ("TP: positives that are flagged. TN: negatives that are not.",),
    )


def _as_in_yao(comparisons: Sequence[Comparison]) -> Section:
    return Section(
        "as-in-yao",
        "Wald over the total n, as in Yao et al.",
        ("comparison", "threshold", "sensitivity", "specificity"),
        tuple(
            (
                one.name,
                f"{at.threshold:g}",
                _value(at.sensitivity, paper.sensitivity),
                _value(at.specificity, paper.specificity),
            )
            for one in comparisons
            for at, paper in zip(one.at, one.as_in_yao, strict=True)
        ),
        (
            "Too narrow: the number of both classes stands where the class's own belongs. For comparison with"
            " the paper only; the intervals of Wilson or of Clopper and Pearson are the ones to report.",
        ),
    )


def _interval(found: Interval | None, style: str = ".3f") -> str:
    return f"{found.low:{style}} to {found.high:{style}}" if found else "–"


def _percent(found: Interval) -> str:
    return f"{100 * found.low:.1f}–{100 * found.high:.1f}"


def _count(found: Proportion | None) -> str:
    return f"{found.count}/{found.of} = {100 * found.value:.1f} %" if found else "–"


def _wilson(found: Proportion | None) -> str:
    return _percent(found.wilson) if found else "–"


def _exact(found: Proportion | None) -> str:
    return _percent(found.clopper_pearson) if found else "–"


def _rate(found: Proportion | None) -> str:
    return f"{_count(found)} ({_wilson(found)})" if found else "–"


def _value(found: Proportion | None, interval: Interval | None) -> str:
    return f"{100 * found.value:.1f} % ({_percent(interval)})" if found and interval else "–"
