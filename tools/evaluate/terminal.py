"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.page import Section

_PIPE: int = 200
"""A pipe has no width that words would have to fit."""


def show(summary: str, sections: Iterable[Section], console: Console) -> None:
    if not console.is_terminal:
        console = Console(file=console.file, width=_PIPE)
    console.print(Text(summary, style="bold"))
    for section in sections:
        table = Table(
            title=Text(section.title, style="bold"),
            title_justify="left",
            box=None,
            pad_edge=False,
            header_style="dim",
        )
        for number, name in enumerate(section.header):
            table.add_column(Text(name), justify="left" if number < section.texts else "right")
        for row in section.rows:
            table.add_row(*map(Text, row))
        console.print()
        console.print(table)
        for note in section.notes:
            console.print(Text(note, style="dim italic"))
