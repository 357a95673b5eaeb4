"""The state folder: one daemon at a time, on a local disk."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance import durable
from appliance.intake.folder import mount_of


class StateFolderError(Exception):
    """The state folder cannot be used; the message is one sentence with what to do."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The paths in it: `lock journal.db audit.log acceptance.json control.sock`, and the folders `objects/
    results/ engine-cache/ known-answers/ previews/`."""

    path: Path

    @property
    def journal(self) -> Path:
        return self.path / "journal.db"

    @property
    def audit(self) -> Path:
        return self.path / "audit.log"

    @property
    def acceptance(self) -> Path:
        return self.path / "acceptance.json"

    @property
    def previews(self) -> Path:
        return self.path / "previews"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def engine_cache(self) -> Path:
        return self.path / "engine-cache"

    @property
    def known_answers(self) -> Path:
        return self.path / "known-answers"

    @property
    def control(self) -> Path:
        return self.path / "control.sock"

    def take(self, results: Path) -> BinaryIO:
        """Make what is missing, lock, and clear what a kill left; raises StateFolderError."""
        try:
            durable.make_folder(self.path)
            if mount_of(self.path).is_network:
                raise StateFolderError(
                    f"The state folder {self.path} is on a network file system, where locks and fsync"
                    " cannot be trusted: name a folder on a local disk."
                )
            for folder in (self.objects, self.engine_cache, self.known_answers, self.previews, results):
                durable.make_folder(folder)
            lock = self.lock()
            for folder in (self.objects, self.known_answers, self.previews, results):
                durable.sweep(folder)
        except OSError as error:
            raise _unusable(self.path, error) from error
        return lock

    def lock(self) -> BinaryIO:
        """Hold the folder until the returned file is closed; raises StateFolderError."""
        try:
            lock = (self.path / "lock").open("ab")
        except OSError as error:
            raise _unusable(self.path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StateFolderError(
                f"Another Scanlight runs on the state folder {self.path}: stop it first, or name another."
            ) from error
        return lock


def _unusable(folder: Path, error: OSError) -> StateFolderError:
    return StateFolderError(f"The state folder {folder} cannot be used: {error.strerror} ({error.filename}).")
