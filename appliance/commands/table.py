"""Records as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from appliance.findings.record import SeriesRecord
from appliance.reasons import Outcome

STYLES = {
    Outcome.FLAGGED: "bold magenta",
    Outcome.NOT_FLAGGED: "",
    Outcome.SKIPPED: "dim",
    Outcome.NOT_ANALYSED: "bold yellow",
    Outcome.FAILED: "bold red",
}


def print_records(
    console: Console, records: Sequence[SeriesRecord], names: Mapping[str, str] | None = None
) -> None:
    """A row for each series or file, then the sentences behind what needs attention, then the sums.

    `names` are better words for series UIDs.
    """
    names = names or {}
    if not console.is_terminal:
        # A pipe has no width that words would have to fit.
        console = Console(file=console.file, width=200)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("series", "outcome", "reason", "p", "size", "spacing mm"):
        table.add_column(name, justify="right" if name == "p" else "left", no_wrap=name != "reason")
    digests = any(record.hu_sha256 for record in records)
    if digests:
        table.add_column("HU SHA-256", no_wrap=True)
    for record in records:
        digest = [(record.hu_sha256 or "")[:16]] if digests else []
        table.add_row(
            *_row(record, names), *digest, style=STYLES.get(record.outcome, "") if record.outcome else "cyan"
        )
    console.print(table)
    for record in records:
        if record.outcome in (Outcome.NOT_ANALYSED, Outcome.FAILED):
            console.print(Text(f"{_name(record, names)}: {record.detail}"))
    sums = Counter(record.outcome or "in flight" for record in records)
    console.print(", ".join(f"{count} {words(name)}" for name, count in sorted(sums.items())) or "No series.")
    for notice in sorted({record.notice for record in records if record.notice}):
        console.print(Text(notice))


def words(code: str) -> str:
    return code.replace("_", " ")


def _name(record: SeriesRecord, names: Mapping[str, str]) -> str:
    if record.series_uid is None:
        return record.path or ""
    if record.series_uid in names:
        return names[record.series_uid]
    return record.series_uid if len(record.series_uid) <= 16 else "…" + record.series_uid[-15:]


def _row(record: SeriesRecord, names: Mapping[str, str]) -> list[Text]:
    outcome = words(record.outcome) if record.outcome else "in flight"
    revision = f" (revision {record.revision})" if record.revision and record.revision > 1 else ""
    return [
        Text(cell)
        for cell in (
            _name(record, names),
            outcome + revision,
            words(record.reason) if record.reason else "",
            "" if record.probability is None else f"{record.probability:.3f}",
            "×".join(map(str, record.size or ())),
            "×".join(f"{mm:.3g}" for mm in dict.fromkeys(record.spacing_mm or ())),
        )
    ]
