"""The other end of rigged.py: says what its appliance's engine, decoders and writes do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness import Appliance

RIGGED = Path(__file__).with_name("rigged.py")


class Rig:
    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._folder = appliance.config.with_name("rig")
        self._folder.mkdir()
        appliance.program = [str(RIGGED)]

    @property
    def env(self) -> Mapping[str, str]:
        return {"RIGGED": str(self._folder)}

    def say(self, what: str, text: str = "") -> None:
        part = self._folder / ".part"
        part.write_text(text)
        part.replace(self._folder / what)

    def unsay(self, what: str) -> None:
        (self._folder / what).unlink()

    def said(self, what: str) -> bool:
        return (self._folder / what).exists()

    @contextlib.contextmanager
    def saying(self, what: str, text: str = "") -> Iterator[None]:
        self.say(what, text)
        yield
        self.unsay(what)

    def wait_until_paused(self) -> None:
        """The call that `pause` names is about to be made."""
        self._appliance.wait("the call is about to be made", lambda: self.said("paused"))
        self.unsay("paused")
