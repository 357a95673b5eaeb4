"""The plots, as PNG: the ROC curve, the reliability curve, where the scores of each group lie."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tools.evaluate.cases import GROUP, Cases, Mask
from tools.evaluate.evaluation import Curve, Evaluation

_MODEL, _OTHER, _READER, _POSITIVE = "#0b5cad", "#c2560c", "#3f3f46", "#a3195b"
_MARKERS: Final = "osD^vP*X<>"
_GROUPS: Final = 8
"""More panels are too small to read; the classes alone are shown then."""


def plots(cases: Cases, found: Evaluation) -> Mapping[str, bytes]:
    """By file name, in the order of the report."""
    return {
        "roc.png": _png(_roc(found)),
        "reliability.png": _png(_reliability(found)),
        "scores.png": _png(_scores(cases, found)),
    }


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    # Without the name of the software the same numbers give the same bytes.
    figure.savefig(content, format="png", dpi=160, metadata={"Software": None})
    return content.getvalue()


def _roc(found: Evaluation) -> Figure:
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#a1a1aa", linewidth=1, linestyle=":")
    whole = found.comparisons[0]
    assert whole.auc is not None
    _curve(axes, found.curve, _MODEL, f"model, AUC {whole.auc.value:.3f}")
    if found.other:
        name = f"{_plain(found.other.name)}, AUC {found.other.test.second:.3f}"
        _curve(axes, found.other.curve, _OTHER, name)
    for at in whole.at:
        _point(axes, at.sensitivity, at.specificity, _MODEL, "o", f"model at {at.threshold:g}")
    for number, one in enumerate(found.readers):
        marker = _MARKERS[(number + 1) % len(_MARKERS)]
        _point(axes, one.reader.sensitivity, one.reader.specificity, _READER, marker, _plain(one.reader.name))
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_aspect("equal")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", frameon=False)
    return figure


def _curve(axes: Any, curve: Curve, colour: str, label: str) -> None:  # noqa: ANN401
    if curve.band:
        axes.fill_between(
            curve.band.false_positive_rate,
            curve.band.low,
            curve.band.high,
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    axes.plot(curve.false_positive_rate, curve.sensitivity, color=colour, linewidth=2, label=label)


def _point(axes: Any, sensitivity: Any, specificity: Any, colour: str, marker: str, label: str) -> None:  # noqa: ANN401
    """A point with Wilson's intervals as a cross."""
    across, up = 1 - specificity.value, sensitivity.value
    axes.errorbar(
        [across],
        [up],
        xerr=[[across - (1 - specificity.wilson.high)], [(1 - specificity.wilson.low) - across]],
        yerr=[[up - sensitivity.wilson.low], [sensitivity.wilson.high - up]],
        color=colour,
        marker=marker,
        markersize=7,
        markeredgecolor="white",
        elinewidth=1,
        linestyle="none",
        label=label,
    )


def _plain(text: str) -> str:
    """Matplotlib takes dollars for formulas, and leaves out of a legend what begins with an underscore."""
    return text.lstrip("_").replace("$", r"\$")


def _reliability(found: Evaluation) -> Figure:
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    bins = found.calibration.bins
    middle = np.array([one.mean_score for one in bins])
    share = np.array([one.positive.value for one in bins])
    reach = np.array([(one.positive.wilson.low, one.positive.wilson.high) for one in bins])
    above.plot([0, 1], [0, 1], color="#a1a1aa", linewidth=1, linestyle=":")
    above.errorbar(
        middle,
        share,
        yerr=np.clip([share - reach[:, 0], reach[:, 1] - share], 0, None),
        color=_MODEL,
        marker="o",
        elinewidth=1,
        linewidth=2,
    )
    above.set(ylabel="share of positives, with Wilson's interval", ylim=(-0.02, 1.02))
    widths = [one.high - one.low for one in bins]
    below.bar(
        [one.low for one in bins],
        [one.positive.of for one in bins],
        widths,
        align="edge",
        color=_MODEL,
        edgecolor="white",
    )
    below.set(xlabel="score", ylabel="cases", xlim=(0, 1))
    for axes in (above, below):
        axes.grid(alpha=0.25)
    return figure


def _scores(cases: Cases, found: Evaluation) -> Figure:
    panels = _panels(cases)
    figure = Figure(figsize=(10, 1.3 * len(panels) + 0.6), layout="constrained")
    edges = np.linspace(0, 1, 41)
    every = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, mask, colour) in zip(every, panels, strict=True):
        axes.hist(cases.scores[mask], edges, color=colour)
        for at in found.comparisons[0].at:
            axes.axvline(at.threshold, color="#3f3f46", linewidth=1, linestyle="--")
        axes.set(ylabel="cases", xlim=(0, 1))
        axes.set_title(f"{_plain(name)} ({int(mask.sum())})", loc="left", fontsize="medium")
        axes.grid(alpha=0.25)
    every[-1].set_xlabel("score; dashed: threshold")
    return figure


def _panels(cases: Cases) -> list[tuple[str, Mask, str]]:
    """The groups of each class, the positive ones first."""
    classes = (("positives", cases.positive, _POSITIVE), ("negatives", ~cases.positive, _MODEL))
    if GROUP in cases.columns:
        column = cases.column(GROUP)
        groups = [
            (str(group) or f"{word} of no group", mask & (column == group), colour)
            for word, mask, colour in classes
            for group in np.unique(column[mask])
        ]
        if len(groups) <= _GROUPS:
            return groups
    return list(classes)
