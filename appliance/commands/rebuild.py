"""scanlight rebuild: a new journal in place of a damaged one."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from appliance.commands.journal import ConfigOption
from appliance.config import DEFAULT_CONFIG, ConfigError, load
from appliance.intake.folder import FolderDown
from appliance.journal import JournalError
from appliance.rebuild import NothingToRebuild
from appliance.rebuild import rebuild as rebuild_journal
from appliance.state_folder import StateFolderError

CANNOT = 2


def rebuild(
    config: ConfigOption = DEFAULT_CONFIG,
    accept_folder: Annotated[
        bool, typer.Option(help="Accept that the export folder is another one than before, or empty.")
    ] = False,
) -> None:
    """Make a new journal from the results, the objects and the export folder; the old one is kept aside.

    For a journal that is damaged or gone, with the daemon stopped and the export folder in place. Nothing is
    delivered twice and nothing old becomes new. Exit 1 when the journal is in order, 2 when it cannot be.
    """
    console = Console(stderr=True)
    try:
        with console.status("Rebuilding the journal …") as status:
            done = rebuild_journal(
                load(config),
                lambda what, count: status.update(f"{what}: {count}") if count % 50 == 0 else None,
                accept_folder=accept_folder,
            )
    except NothingToRebuild as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except (ConfigError, JournalError, StateFolderError, FolderDown) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(CANNOT) from None
    except OSError as error:
        typer.echo(f"The journal cannot be rebuilt: {error.strerror} ({error.filename}).", err=True)
        raise typer.Exit(CANNOT) from None
    out = Console()
    out.print(
        f"{done.series} series with {done.revisions} revisions and {done.files} files were taken over;"
        f" {done.to_read} files will be read when the daemon starts."
    )
    for path in done.unreadable:
        out.print(Text(f"{path} is damaged and was left out."), soft_wrap=True)
    if done.aside is not None:
        out.print(Text(f"The old journal is kept as {done.aside}."), soft_wrap=True)
