"""The state folder: one daemon at a time, on a local disk."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from appliance.intake.folder import mount_of


class StateFolderError(Exception):
    """The state folder cannot be used; the message is one sentence with what to do."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The paths in it: `lock journal.db objects/ results/ engine-cache/`."""

    path: Path

    @property
    def journal(self) -> Path:
        return self.path / "journal.db"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def engine_cache(self) -> Path:
        return self.path / "engine-cache"

    @property
    def known_answers(self) -> Path:
        return self.path / "known-answers"

    def take(self, results: Path) -> int:
        """Make what is missing and hold the lock until this process ends; returns its descriptor."""
        try:
            self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
            if mount_of(self.path).is_network:
                raise StateFolderError(
                    f"The state folder {self.path} is on a network file system, where locks and fsync"
                    " cannot be trusted: name a folder on a local disk."
                )
            for folder in (self.objects, self.engine_cache, results):
                folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StateFolderError(
                f"The state folder {self.path} cannot be used: {error.strerror} ({error.filename})."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise StateFolderError(
                f"Another Scanlight runs on the state folder {self.path}: stop it first, or name another."
            ) from error
        return lock
