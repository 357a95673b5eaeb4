"""scanlight retry: have series read once more."""

from __future__ import annotations

import os
import pwd
from datetime import UTC, datetime
from typing import Annotated

import typer

from appliance import control
from appliance.clock import utc_now, utc_text
from appliance.commands.journal import USAGE, ConfigOption, StateOption, open_journal, state_folder
from appliance.config import DEFAULT_CONFIG
from appliance.journal import Journal, JournalError, JournalReader
from appliance.state_folder import StateFolder, StateFolderError


def retry(
    series: Annotated[
        list[str] | None, typer.Argument(metavar="SERIES...", help="Series Instance UIDs, or their ends.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
            help="All that ended since then, in local time: after a new model, say.",
        ),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = None,
) -> None:
    """Have series read once more, whatever came of them before: parked ones too.

    A reading that comes out as before changes nothing; another one is the next revision. Without a daemon it
    is done when one starts. Exit 1 when there is no such series.
    """
    if not (series or failed or since):
        typer.echo("Name a series, or --failed, or --since TIME: see scanlight list.", err=True)
        raise typer.Exit(USAGE)
    folder = state_folder(config, state)
    subjects = _subjects(open_journal(folder), series or [], failed=failed, since=since)
    try:
        count = control.retry(folder.control, subjects, _who())
    except control.NoDaemon:
        count = _without_daemon(folder, subjects)
    except control.Refused as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(1) from None
    typer.echo("1 series is read again." if count == 1 else f"{count} series are read again.")
    if count < len(subjects):
        typer.echo(f"{len(subjects) - count} more are being read as it is.")


def _subjects(journal: JournalReader, ends: list[str], *, failed: bool, since: datetime | None) -> list[str]:
    found: dict[str, None] = {}
    for end in ends:
        subjects = journal.subjects_ending_with(end)
        if len(subjects) != 1:
            fits = "No series" if not subjects else f"{len(subjects)} series"
            typer.echo(f"{fits} of this journal ends with {end}: see scanlight list.", err=True)
            raise typer.Exit(1)
        found[subjects[0]] = None
    if failed:
        found |= dict.fromkeys(journal.failed())
    if since is not None:
        found |= dict.fromkeys(journal.ended_since(utc_text(since.astimezone(UTC))))
    return list(found)


def _without_daemon(folder: StateFolder, subjects: list[str]) -> int:
    try:
        lock = folder.lock()
        journal = Journal(folder.journal)
    except (StateFolderError, JournalError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from None
    count = journal.try_again(subjects, utc_now(), asked_by=_who())
    journal.close()
    lock.close()
    return count


def _who() -> str:
    """The account at this command line, the one behind sudo where there is one."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
