"""The report on a terminal."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.doctor.check import Verdict
from tools.doctor.report import Report

_STYLES: Final = {Verdict.PASSED: "green", Verdict.FAILED: "bold red", Verdict.NOT_DONE: "yellow"}
_PIPE: Final = 200
"""A pipe has no width that words would have to fit."""


def show(report: Report, console: Console) -> None:
    if not console.is_terminal:
        console = Console(file=console.file, width=_PIPE)
    for group in report.groups:
        found = Table(title=Text(group.title, style="bold"), title_justify="left", box=None, pad_edge=False)
        for name in ("check", "measured", "limit", "verdict"):
            found.add_column(name, header_style="dim")
        for check in group.checks:
            words = (check.name, check.measured, check.limit)
            found.add_row(*map(Text, words), Text(check.verdict, style=_STYLES[check.verdict]))
        console.print(found)
        for check in group.checks:
            if check.verdict is not Verdict.PASSED:
                console.print(Text(f"  {check.name}: {check.remedy}", style=_STYLES[check.verdict]))
        console.print()
    wrong = report.names(Verdict.FAILED)
    console.print(
        Text(f"FAILED: {', '.join(wrong)}", style="bold red") if wrong else Text("PASSED", style="bold green")
    )
