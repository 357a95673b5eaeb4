"""A report as one HTML file that needs no other: titled tables, in light, in the dark, on paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from tools.style import STYLE


@dataclass(frozen=True, slots=True)
class Section:
    """`key` is the same for the same content; the first `texts` columns are words, the others numbers."""

    key: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    texts: int = 1


def document(title: str, about: str, parts: Iterable[str], footer: str) -> str:
    """`about` says what the report is of, `parts` are its HTML, `footer` when and by what it was made."""
    return "\n".join(
        (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
            f'<h1>{escape(title)}</h1><p class="about">{escape(about)}</p>',
            *parts,
            f"</main><footer>{escape(footer)}</footer></body></html>",
        )
    )


def tiles(values: Iterable[tuple[str, str, str]]) -> str:
    """What is seen first: of each a name, its value, and words below it."""
    return (
        '<dl class="key">'
        + "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(words)}</small></dd></div>"
            for name, value, words in values
        )
        + "</dl>"
    )


def table(section: Section) -> str:
    """A section with its title, table and notes."""
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
