"""The command line as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def scanlight(
    *words: str | Path,
    env: dict[str, str] | None = None,
    timeout_s: float = 300,
    before: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a command; the caller looks at the exit code. `before` is a program that runs it, such as nice."""
    return subprocess.run(
        [*before, sys.executable, "-m", "appliance", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **(env or {})},
        check=False,
    )
