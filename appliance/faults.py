"""Named points between two steps that matter, at which a test ends or hangs this process or one thread of it.

`SCANLIGHT_FAULT=finding.recorded` in the environment kills the process with SIGKILL when it first reaches
that point; `finding.recorded:kill:3` the third time, `watch.scanned:raise` raises `FaultRaised` instead and
`loop.turned:hang` never returns. Not armed, a point costs a comparison with None.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from typing import Final, Literal

VARIABLE: Final = "SCANLIGHT_FAULT"

POINTS: Final = (
    # A file that is whole or not there: objects, results, known answers.
    "file.created",
    "file.written",
    "file.synced",
    "file.renamed",
    "file.kept",
    # Every transaction of the journal.
    "journal.begun",
    "journal.written",
    "journal.committed",
    # From the first scan to a finding and its delivery.
    "first_scan.noted",
    "backlog.noted",
    "series.seen",
    "series.reopened",
    "try.charged",
    "reading.done",
    "try.settled",
    "heatmap.stored",
    "finding.stored",
    "finding.recorded",
    "audit.written",
    "delivery.begun",
    "delivery.placed",
    "delivery.settled",
    # Once in each thread.
    "worker.starting",
    "loop.turned",
    "watch.scanned",
    "engine.opened",
    "engine.checked",
    "web.looked",
)


class FaultRaised(Exception):
    """What an armed point raises."""


@dataclass(slots=True)
class Armed:
    """A point that does something the `left`-th time it is reached."""

    point: str
    action: Literal["kill", "raise", "hang"]
    left: int

    @classmethod
    def parse(cls, text: str) -> Armed:
        """Raises ValueError for what names no point."""
        point, _, rest = text.partition(":")
        action, _, number = (rest or "kill").partition(":")
        number = number or "1"
        if point not in POINTS:
            raise ValueError(f"{VARIABLE}: there is no point {point}; these are: {', '.join(POINTS)}.")
        if action not in ("kill", "raise", "hang") or not number.isdigit() or int(number) < 1:
            raise ValueError(f"{VARIABLE}: expected POINT:kill, :raise or :hang, and a number after it.")
        return cls(point, action, int(number))  # type: ignore[arg-type]


_lock = threading.Lock()
_armed = Armed.parse(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def reach(point: str) -> None:
    """The process is at this point."""
    if _armed is not None and _armed.point == point:
        _act(_armed)


def _act(armed: Armed) -> None:
    with _lock:
        armed.left -= 1
        due = armed.left == 0
    if due and armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif due and armed.action == "hang":
        threading.Event().wait()
    elif due:
        raise FaultRaised(armed.point)
