"""The command line, as a process of its own or in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from appliance.cli import build


def scanlight(
    *words: str | Path,
    env: dict[str, str] | None = None,
    timeout_s: float = 300,
    before: Sequence[str] = (),
    changed: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a command; the caller looks at the exit code. `before` is a program that runs it, such as nice, and
    `changed` as of `program`."""
    return subprocess.run(
        [*before, *program(changed), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **(env or {})},
        check=False,
    )


def program(changed: str = "") -> list[str]:
    """What runs a command; `changed` is Python that goes before, such as to make a constant smaller."""
    if not changed:
        return [sys.executable, "-m", "appliance"]
    return [sys.executable, "-c", f"{changed}; from appliance.cli import main; main()"]


def in_this_process(*words: str | Path) -> Result:
    """The same without another start of Python."""
    line = list(map(str, words))
    return CliRunner().invoke(build(line), line, catch_exceptions=False)
