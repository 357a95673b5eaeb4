"""scanlight config check, example, schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from appliance.config import EXAMPLE, Config, ConfigError, load


def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="The configuration file.")]) -> None:
    """Check a configuration file: all errors at once, each with its line. Exit 0 when it is valid, else 2."""
    try:
        load(file)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{file}: valid.")


def example() -> None:
    """Print a configuration to start from, with every setting and its default."""
    typer.echo(EXAMPLE, nl=False)


def schema() -> None:
    """Print the settings as JSON Schema, for editors that check YAML."""
    typer.echo(json.dumps(Config.model_json_schema(), indent=2))
