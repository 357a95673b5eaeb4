"""The folder of a bundle: there as a whole or not at all, and never in place of anything but a bundle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.durable import sync_folder
from engines.bundle import MANIFEST, MANIFEST_HASH
from tools.problem import WrongInput
from tools.whole_folder import whole


def check_free(folder: Path, replace: bool) -> None:
    """Raises WrongInput unless the folder can be made, or with `replace` is a bundle that may go."""
    if not folder.parent.is_dir():
        raise WrongInput(f"{folder.parent} is no folder: make it, or choose another place for the bundle.")
    if not os.access(folder.parent, os.W_OK | os.X_OK):
        raise WrongInput(f"Nothing may be written to {folder.parent}: choose another place for the bundle.")
    inside = folder.parent.resolve()
    if any(_is_bundle(parent) for parent in (inside, *inside.parents)):
        raise WrongInput(f"{folder} lies in a bundle, which would be another one then: choose another place.")
    try:
        folder.lstat()
    except FileNotFoundError:
        return
    if folder.is_symlink() or not _is_bundle(folder):
        raise WrongInput(f"{folder} exists and is no bundle: choose another place, or remove it.")
    if not replace:
        raise WrongInput(f"{folder} is a bundle already: choose another place, or replace it with --replace.")


def _is_bundle(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (MANIFEST, MANIFEST_HASH))


@contextmanager
def bundle_folder(folder: Path, replace: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` at the end, and nothing where there is an exception."""
    with whole(folder, 0o755) as made:
        yield made
        for path in made.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(made)
        check_free(folder, replace)
