"""The other end of rigged.py: says what its appliance's engine, decoders and writes do."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness import Appliance
from trial import Trial

FAULTS = Path(__file__).parent
# A script or a module would be imported by each worker.
RIGGED = ["-c", "import rigged; rigged.main()"]


def environment(folder: Path) -> dict[str, str]:
    """What a program that is rigged finds in its environment, when the folder's files say what it does."""
    found_there = os.pathsep.join(map(str, (FAULTS.parent.parent, FAULTS.parent, FAULTS)))
    return {"RIGGED": str(folder), "PYTHONPATH": found_there}


class Rig:
    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._folder = trial.appliance.config.with_name("rig")
        self._folder.mkdir()

    @contextlib.contextmanager
    def life(self, env: Mapping[str, str] | None = None) -> Iterator[Appliance]:
        """The appliance does what was said; later lives are as ever."""
        program, self._trial.appliance.program = self._trial.appliance.program, RIGGED
        try:
            with self._trial.life({**environment(self._folder), **(env or {})}) as appliance:
                yield appliance
        finally:
            self._trial.appliance.program = program

    def say(self, what: str, text: str = "") -> None:
        part = self._folder / ".part"
        part.write_text(text)
        part.replace(self._folder / what)

    def unsay(self, what: str) -> None:
        (self._folder / what).unlink()

    def said(self, what: str) -> bool:
        return (self._folder / what).exists()

    def wait_until_paused(self) -> None:
        """The call that `pause` names is about to be made."""
        self._trial.appliance.wait("the call is about to be made", lambda: self.said("paused"))
        self.unsay("paused")
