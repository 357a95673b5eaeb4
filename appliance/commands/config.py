"""scanlight config check, example, drop-in, schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from appliance import sandbox
from appliance.config import EXAMPLE, Config, ConfigError, load

File = Annotated[Path, typer.Argument(metavar="FILE", help="The configuration file.")]


def check(file: File) -> None:
    """Check a configuration file: all errors at once, each with its line. Exit 0 when it is valid, else 2."""
    _load(file)
    typer.echo(f"{file}: valid.")


def drop_in(file: File) -> None:
    """Print a drop-in for scanlight.service that opens its sandbox for what the configuration names."""
    typer.echo(sandbox.drop_in(_load(file)), nl=False)


def example() -> None:
    """Print a configuration to start from, with every setting and its default."""
    typer.echo(EXAMPLE, nl=False)


def schema() -> None:
    """Print the settings as JSON Schema, for editors that check YAML."""
    typer.echo(json.dumps(Config.model_json_schema(), indent=2))


def _load(file: Path) -> Config:
    try:
        return load(file)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(2) from None
