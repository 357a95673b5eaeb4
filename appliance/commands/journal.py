"""scanlight list and show: what a daemon has done, from its journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from appliance.commands.table import print_records
from appliance.config import DEFAULT_CONFIG, ConfigError
from appliance.config import state_folder as config_state_folder
from appliance.journal import JournalError, JournalReader
from appliance.state_folder import StateFolder

USAGE = 2

ConfigOption = Annotated[
    Path,
    typer.Option("--config", metavar="FILE", envvar="SCANLIGHT_CONFIG", help="The daemon's configuration."),
]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="Its state folder, instead.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One record a line, as JSON.")]


def list_series(
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = None,
    as_json: JsonOption = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many of the newest.")] = None,
) -> None:
    """List the current finding of each series, newest first, and before them what is in flight."""
    reader = open_journal(state_folder(config, state))
    records = [*reader.in_flight(), *reader.records(limit or -1)]
    if as_json:
        for record in records:
            typer.echo(record.to_json())
    else:
        print_records(Console(), records)


def show(
    series: Annotated[str, typer.Argument(metavar="SERIES", help="A Series Instance UID, or its end.")],
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a series with all its revisions, oldest first. Exit 1 when none fits, or more than one."""
    reader = open_journal(state_folder(config, state))
    subjects = reader.subjects_ending_with(series)
    if len(subjects) != 1:
        fits = "no series" if not subjects else f"{len(subjects)} series"
        typer.echo(f"{fits.capitalize()} of this journal ends with {series}: see scanlight list.", err=True)
        raise typer.Exit(1)
    revisions = reader.revisions(subjects[0])
    for record in revisions or [one for one in reader.in_flight() if one.series_uid == subjects[0]]:
        typer.echo(
            record.to_json() if as_json else json.dumps(record.as_dict(), indent=2, ensure_ascii=False)
        )


def state_folder(config: Path, state: Path | None) -> StateFolder:
    """The daemon's state folder, by its configuration or by itself."""
    try:
        return StateFolder(state or config_state_folder(config))
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from None


def open_journal(folder: StateFolder) -> JournalReader:
    try:
        return JournalReader(folder.journal)
    except JournalError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from None
