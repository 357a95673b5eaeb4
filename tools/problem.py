"""What ends a command of the tools."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


class WrongInput(Exception):
    """One sentence: which file and line or setting, what is wrong, what to do."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Ends the command with exit code 2 and what is wrong with its input, or with a file."""
    try:
        yield
    except WrongInput as error:
        typer.echo(str(error), err=True)
    except OSError as error:
        # The same errors come of reading and of writing.
        typer.echo(
            f"{_asked_for(error)}{error.strerror or error}. Check the path, its permissions and the room on"
            " its disk.",
            err=True,
        )
    else:
        return
    raise typer.Exit(2)


def _asked_for(error: OSError) -> str:
    """The file as the user knows it: `appliance.durable` writes NAME as .NAME.tmp first."""
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return ""
    path = Path(os.fsdecode(error.filename))
    if path.name.startswith(".") and path.suffix == ".tmp":
        path = path.with_name(path.name.removeprefix(".").removesuffix(".tmp"))
    return f"{path}: "
