"""scanlight audit: who acknowledged what, every finding, every change, checked line by line."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from appliance.audit import AuditDamaged, entries, missing
from appliance.commands.journal import ConfigOption, JsonOption, StateOption, open_journal, state_folder
from appliance.config import DEFAULT_CONFIG
from appliance.journal import AUDIT_UPTO

DAMAGED = 1
USAGE = 2
_FIRST = ("n", "at", "event")
_HIDDEN = ("previous",)


def audit(
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = None,
    as_json: JsonOption = False,
    event: Annotated[
        str | None, typer.Option(metavar="EVENT", help="Only such lines, such as acknowledged.")
    ] = None,
) -> None:
    """Print the audit log, oldest first, and check that no line was changed, added or taken out.

    Exit 1 at the first line that does not follow from the one before, or where lines at the end are missing.
    """
    folder = state_folder(config, state)
    path, last = folder.audit, 0
    try:
        for entry in entries(path):
            last = entry["n"]
            if event is None or entry.get("event") == event:
                typer.echo(json.dumps(entry, ensure_ascii=False) if as_json else _words(entry))
        short = missing(last, open_journal(folder).meta(AUDIT_UPTO))
        if short is not None:
            raise AuditDamaged(short)
    except AuditDamaged as damaged:
        typer.echo(str(damaged), err=True)
        raise typer.Exit(DAMAGED) from None
    except OSError as error:
        typer.echo(f"The audit log {path} cannot be read: {error.strerror}.", err=True)
        raise typer.Exit(USAGE) from None


def _words(entry: dict[str, Any]) -> str:
    rest = (
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in entry.items()
        if key not in (*_FIRST, *_HIDDEN) and value is not None
    )
    return " ".join([str(entry.get("at", "")), str(entry.get("event", "")), *rest])
