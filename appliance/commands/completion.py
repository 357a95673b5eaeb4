"""scanlight completion: what lets a shell complete commands and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer._completion_shared import get_completion_script

from appliance.cli import COMPLETE_VARIABLE


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that is to complete.")]) -> None:
    """Print what the shell is to read at its start, such as: source <(scanlight completion bash)."""
    typer.echo(
        get_completion_script(prog_name="scanlight", complete_var=COMPLETE_VARIABLE, shell=shell.value)
    )
