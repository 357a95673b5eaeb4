"""A physical light: a command that is run with the light's state, in a thread of its own.

The lamp is shown a level, not a change: the command is run at the start, when the state or a count changes,
and once a minute, so that a lamp that was plugged in again, or that times out by itself, is right. Whatever
the command does, the daemon goes on; what it writes is thrown away.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance import logs
from appliance.config import LampSettings
from appliance.facts import LampState
from appliance.light import Light

LOOK_S: Final = 0.25
REPEAT_S: Final = 60.0
AGAIN_S: Final = 5.0
"""After a failure."""
FAREWELL_S: Final = 2.0
"""So long, or its deadline, may the command take when the daemon stops."""

NO_SIGNAL: Final = "no_signal"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a lamp is told: the state, and the counts in its environment."""

    state: str
    counts: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, light: Light) -> Shown:
        return cls(light.state, tuple(light.counts.items()))

    @property
    def environment(self) -> dict[str, str]:
        counts = {f"SCANLIGHT_{name.upper()}": str(count) for name, count in self.counts}
        return {"SCANLIGHT_STATE": self.state, **counts}


class Lamp(threading.Thread):
    """Follows the light as `look` sees it, until `stop`; `settings` may change meanwhile."""

    def __init__(self, look: Callable[[], Light], settings: LampSettings | None) -> None:
        super().__init__(name="lamp", daemon=True)
        self._look = look
        self._settings = settings
        self._wake = threading.Event()
        self._stopping = False
        self._state: LampState = "off" if settings is None else "ok"
        self._left: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> LampState:
        """Whether the last run of the command went well; `off` without one."""
        return self._state

    def use(self, settings: LampSettings | None) -> None:
        self._settings = settings
        self._wake.set()

    def stop(self) -> None:
        """The lamp is told that nothing follows any more."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        lit: LampSettings | None = None
        shown: Shown | None = None
        due = 0.0
        while not self._stopping:
            settings = self._settings
            if settings != lit:
                self._leave(lit, settings)
                lit, shown = settings, None
            now = time.monotonic()
            level = Shown.of(self._look())
            if lit is None:
                self._settle("off")
            elif level != shown or now >= due:
                shown = level
                why = self._show(lit, level, lit.deadline_s)
                self._settle("failing" if why else "ok", why)
                due = time.monotonic() + (AGAIN_S if why else REPEAT_S)
            self._wake.wait(LOOK_S)
            if not self._stopping:
                self._wake.clear()
        self._leave(lit, None)

    def _leave(self, lit: LampSettings | None, after: LampSettings | None) -> None:
        """A lamp that is followed no more says so rather than what was true last."""
        if lit is not None and (after is None or after.command != lit.command):
            self._show(lit, Shown(NO_SIGNAL, ()), min(FAREWELL_S, lit.deadline_s), to_the_end=True)

    def _settle(self, state: LampState, why: str = "") -> None:
        if state == self._state:
            return
        self._state = state
        logs.event(f"lamp_{state}", logging.WARNING if why else logging.INFO, **({"why": why} if why else {}))

    def _show(self, lamp: LampSettings, level: Shown, seconds: float, *, to_the_end: bool = False) -> str:
        """Run the command; what went wrong, blank for nothing. With `to_the_end` a stop waits for it."""
        if self._left is not None and self._left.poll() is None:
            return "the command before cannot be ended"
        try:
            process = subprocess.Popen(  # noqa: S603
                [*lamp.command, level.state],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={**os.environ, **level.environment},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"the command cannot be run: {getattr(error, 'strerror', None) or type(error).__name__}"
        ended = self._ended(process, seconds, to_the_end=to_the_end)
        # What it started ends with it: until it is waited for, its number is that of no other group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            code = process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._left = process  # inside a device that does not answer
            return "the command cannot be ended"
        if not ended:
            return "the command took longer than its deadline"
        return f"the command ended with {code}" if code else ""

    def _ended(self, process: subprocess.Popen[bytes], seconds: float, *, to_the_end: bool) -> bool:
        """Whether the command ends within this time."""
        end = time.monotonic() + seconds
        handle = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            while (left := end - time.monotonic()) > 0 and (to_the_end or not self._stopping):
                if poll.poll(min(left, LOOK_S) * 1000):
                    return True
            return bool(poll.poll(0))
        finally:
            os.close(handle)
