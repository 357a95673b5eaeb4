"""Files that are either whole or not there, also after a power cut.

Temporary file, fsync, rename, fsync of the folder: a rename is atomic, and without the second fsync the new
name itself may be lost.
"""

from __future__ import annotations

import os
from pathlib import Path

from appliance.faults import reach


def write(path: Path, content: bytes) -> None:
    """Write a file under its final name only once it is on the disk. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        with os.fdopen(descriptor, "wb") as file:
            reach("file.created")
            file.write(content)
            file.flush()
            reach("file.written")
            os.fsync(file.fileno())
            reach("file.synced")
        temporary.replace(path)
        reach("file.renamed")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    reach("file.kept")


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, and keep its name. Raises OSError."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(mode=0o750, exist_ok=True)
        sync_folder(folder.parent)


def sweep(folder: Path) -> None:
    """Drop the temporary files that a kill left in a folder. Raises OSError."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
