"""The report as one file that needs no other: styles and plots are inside."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape

from tools.evaluate.evaluation import Evaluation
from tools.evaluate.intervals import Interval, Proportion
from tools.page import Section, document, table, tiles

_CAPTIONS = {
    "roc.png": "ROC curve; the band is the 95 % bootstrap interval of the sensitivity, crosses are Wilson's"
    " intervals.",
    "reliability.png": "Reliability: how often a case is positive at a score. Calibrated scores lie on the"
    " dotted line.",
    "scores.png": "Scores by group.",
}


def page(
    title: str,
    about: str,
    found: Evaluation,
    sections: Iterable[Section],
    plots: Mapping[str, bytes],
    written: str,
) -> str:
    """`about` says what was evaluated, `written` when and by what."""
    return document(
        title,
        about,
        (
            _key(found),
            '<div class="plots">',
            *(_figure(name, content) for name, content in plots.items()),
            "</div>",
            *map(table, sections),
        ),
        f"{written} Scores and flags set priorities only: a series without a flag stays in the standard of"
        " care.",
    )


def _key(found: Evaluation) -> str:
    whole = found.comparisons[0]
    at = whole.at[0]
    assert whole.auc is not None
    return tiles(
        (
            ("AUC", f"{whole.auc.value:.3f}", _auc_words(whole.auc.delong)),
            (f"Sensitivity at {at.threshold:g}", _percent(at.sensitivity), _wilson_words(at.sensitivity)),
            (f"Specificity at {at.threshold:g}", _percent(at.specificity), _wilson_words(at.specificity)),
            ("Brier score", f"{found.calibration.brier:.3f}", "0 is best"),
        )
    )


def _auc_words(found: Interval | None) -> str:
    return f"95 % {found.low:.3f} to {found.high:.3f} (DeLong)" if found else "no interval"


def _percent(found: Proportion | None) -> str:
    return f"{100 * found.value:.1f} %" if found else "–"


def _wilson_words(found: Proportion | None) -> str:
    if found is None:
        return ""
    return (
        f"{found.count} of {found.of}; 95 % {100 * found.wilson.low:.1f} to {100 * found.wilson.high:.1f} %"
        " (Wilson)"
    )


def _figure(name: str, content: bytes) -> str:
    caption = escape(_CAPTIONS[name])
    source = f"data:image/png;base64,{b64encode(content).decode()}"
    return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
