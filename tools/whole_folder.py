"""A folder that is there as a whole, in place of the one before, or not at all."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.durable import sync_folder

_NAMED: Final = 32
"""So much of its name is in that of the folder to fill, which may be no longer than a name can be."""

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


@contextmanager
def whole(folder: Path, mode: int = 0o777) -> Iterator[Path]:
    """A folder beside it to fill, which takes its place at the end; with an exception all is as it was.

    `mode` is as of Path.mkdir. The one before goes once its successor is on the disk.
    """
    with tempfile.TemporaryDirectory(prefix=f".{folder.name[:_NAMED]}.", dir=folder.parent) as scratch:
        made, old = Path(scratch) / "made", Path(scratch) / "old"
        made.mkdir(mode)
        yield made
        try:
            if not folder.exists():
                made.rename(folder)
            elif not _exchange(made, folder):
                folder.rename(old)
                made.rename(folder)
        except BaseException:
            if old.exists() and not folder.exists():
                old.rename(folder)
            raise
        sync_folder(folder.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Each takes the other's name in one step, renameat2(2); False where the file system cannot do that."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    result: int = renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    return result == 0
