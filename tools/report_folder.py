"""The folder of a report: there as a whole or not at all, and never in place of anything else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.problem import WrongInput
from tools.whole_folder import whole

REPORT: Final = "report.json"
"""In each of them; its key `report` says of what kind it is."""


@dataclass(frozen=True, slots=True)
class ReportFolder:
    """The reports of one command, `kind`, and the `files` that they may have."""

    kind: str
    files: frozenset[str]

    def check(self, folder: Path) -> None:
        """Raises WrongInput unless it is new, empty, or an earlier report with nothing added."""
        if not folder.exists() and not folder.is_symlink():
            # What is to be reported may take hours: better to know before.
            above = next(one for one in folder.absolute().parents if one.exists())
            if not above.is_dir():
                raise WrongInput(f"{folder} cannot be made: {above} is a file. Choose another folder.")
            if not os.access(above, os.W_OK | os.X_OK):
                raise WrongInput(
                    f"{folder} cannot be made: nothing may be written to {above}. Choose another."
                )
            return
        try:
            names = {path.name for path in folder.iterdir()}
            if not names or (names <= self.files and _kind(folder / REPORT) == self.kind):
                return
        except NotADirectoryError:
            pass
        except OSError as error:
            raise _unwritable(folder, error) from None
        raise WrongInput(
            f"{folder} exists and is no report of {self.kind}: choose a new folder or remove it."
        )

    def write(self, folder: Path, files: Mapping[str, bytes]) -> None:
        """Raises WrongInput where it cannot be written; then what was there before is there still."""
        self.check(folder)
        folder = folder.absolute()
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with whole(folder) as made:
                for file, content in files.items():
                    (made / file).write_bytes(content)
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
