"""The folder of a report: there as a whole or not at all, and never in place of anything else."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.problem import WrongInput

REPORT: Final = "report.json"
KIND: Final = "scanlight evaluate"
FILES: Final = frozenset((REPORT, "report.html", "roc.png", "reliability.png", "scores.png", "scores.csv"))


def check_folder(folder: Path) -> None:
    """Raises WrongInput unless it is new, empty, or an earlier report with nothing added."""
    if not folder.exists() and not folder.is_symlink():
        # Images may take hours to score: better to know before.
        above = next(one for one in folder.absolute().parents if one.exists())
        if not above.is_dir():
            raise WrongInput(f"{folder} cannot be made: {above} is a file. Choose another folder.")
        if not os.access(above, os.W_OK | os.X_OK):
            raise WrongInput(f"{folder} cannot be made: nothing may be written to {above}. Choose another.")
        return
    try:
        names = {path.name for path in folder.iterdir()}
        if not names or (names <= FILES and _kind(folder / REPORT) == KIND):
            return
    except NotADirectoryError:
        pass
    except OSError as error:
        raise _unwritable(folder, error) from None
    raise WrongInput(
        f"{folder} exists and is no report of scanlight evaluate: choose a new folder or remove it."
    )


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Raises WrongInput where it cannot be written; then what was there before is there still."""
    check_folder(folder)
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
            made, old = Path(name) / "made", Path(name) / "old"
            made.mkdir()
            for file, content in files.items():
                (made / file).write_bytes(content)
            if folder.exists():
                folder.rename(old)
            try:
                made.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
    except OSError as error:
        raise _unwritable(folder, error) from None


def _kind(report: Path) -> object:
    try:
        content = json.loads(report.read_bytes())
    except (OSError, ValueError):
        return None
    return content.get("report") if isinstance(content, dict) else None


def _unwritable(folder: Path, error: OSError) -> WrongInput:
    return WrongInput(
        f"{folder} cannot be written: {error.strerror}. Choose a folder with room that you may write to."
    )
