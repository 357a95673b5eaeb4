"""The report as one file that needs no other: styles and plots are inside."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape

from tools.evaluate.evaluation import Evaluation
from tools.evaluate.intervals import Interval, Proportion
from tools.evaluate.sections import Section
from tools.evaluate.style import STYLE

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
    return "\n".join(
        (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
            f'<h1>{escape(title)}</h1><p class="about">{escape(about)}</p>',
            _key(found),
            '<div class="plots">',
            *(_figure(name, content) for name, content in plots.items()),
            "</div>",
            *map(_section, sections),
            f"</main><footer>{escape(written)} Scores and flags set priorities only: a series without a flag"
            " stays in the standard of care.</footer></body></html>",
        )
    )


def _key(found: Evaluation) -> str:
    whole = found.comparisons[0]
    at = whole.at[0]
    assert whole.auc is not None
    tiles = (
        ("AUC", f"{whole.auc.value:.3f}", _auc_words(whole.auc.delong)),
        (f"Sensitivity at {at.threshold:g}", _percent(at.sensitivity), _wilson_words(at.sensitivity)),
        (f"Specificity at {at.threshold:g}", _percent(at.specificity), _wilson_words(at.specificity)),
        ("Brier score", f"{found.calibration.brier:.3f}", "0 is best"),
    )
    return (
        '<dl class="key">'
        + "".join(
            f"<div><dt>{escape(name)}</dt><dd>{value}<small>{words}</small></dd></div>"
            for name, value, words in tiles
        )
        + "</dl>"
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


def _section(section: Section) -> str:
    kinds = ["text" if number < section.texts else "" for number in range(len(section.header))]
    head = "".join(_cell("th", kind, text) for kind, text in zip(kinds, section.header, strict=True))
    body = "".join(
        f"<tr>{''.join(_cell('td', kind, text) for kind, text in zip(kinds, row, strict=True))}</tr>"
        for row in section.rows
    )
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in section.notes)
    return (
        f'<section id="{section.key}"><h2>{escape(section.title)}</h2><div class="wide"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{notes}</section>"
    )


def _cell(tag: str, kind: str, text: str) -> str:
    return f'<{tag} class="{kind}">{escape(text)}</{tag}>' if kind else f"<{tag}>{escape(text)}</{tag}>"
