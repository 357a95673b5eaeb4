"""A folder of the test's own beside what others keep; what a test that was killed left goes with the next."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = ".doctor-"


@contextlib.contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """A new folder, which is locked as long as its process lives (flock(2)), and goes again.

    Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        # The lock of the parent, so that nobody takes a folder that is not locked yet for one that was left.
        with _locked(parent):
            _remove_left(parent)
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent)))
            stack.enter_context(_locked(place))
        yield place


def _remove_left(parent: Path) -> None:
    """What is locked is used, and what may not be removed stays."""
    for left in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(left, fcntl.LOCK_NB):
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, wait: int = 0) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | wait)
        yield
    finally:
        os.close(descriptor)
