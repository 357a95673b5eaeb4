"""What ends a command of the tools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"{where}{error.strerror}. Choose a place with room that you may write to.", err=True)
    else:
        return
    raise typer.Exit(2)
