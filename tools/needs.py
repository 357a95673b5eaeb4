"""Parts that are installed only where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around imports: what is missing is named with the extra that brings it, and the command ends."""
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"This command needs {error.name}: pip install 'scanlight[{extra}]'.", err=True)
        raise typer.Exit(2) from None
