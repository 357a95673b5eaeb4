"""scanlight rollback: after an older version was installed again."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial

import typer

from appliance.commands.journal import ConfigOption
from appliance.config import DEFAULT_CONFIG, ConfigError, load
from appliance.journal import JournalError
from appliance.rebuild import Rebuilt, take_findings
from appliance.rollback import RollbackError, restore
from appliance.state_folder import StateFolder, StateFolderError


def rollback(
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Bring the journal back to what this version reads, after a newer one has changed it.

    The daemon must be stopped. The journal from before the change is put back, the newer one kept aside, and
    the findings since then are taken over from the results. Exit 0 also when there is nothing to do, 2 when
    it cannot be done.
    """
    os.umask(0o027)
    try:
        settings = load(config)
        state = StateFolder(settings.state_folder)
        restored = None
        if state.journal.exists():
            with state.lock():
                restored = restore(state.journal, partial(take_findings, settings, rebuilt=Rebuilt()))
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(2) from None
    except (JournalError, RollbackError, StateFolderError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if restored is None:
        typer.echo("The journal can be read as it is.")
        return
    made = datetime.fromtimestamp(restored.backup.stat().st_mtime, UTC)
    typer.echo(
        f"This version does not read the newer journal, which is kept as {restored.aside}. The one of"
        f" {made:%Y-%m-%d %H:%M} UTC is back, with what the results folder has of the time since then."
    )
