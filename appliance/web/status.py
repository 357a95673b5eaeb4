"""What the API says of the facts: the status, and whether the daemon is alive and ready. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

from appliance.facts import Board, Facts
from appliance.light import MAIN_LOOP_STALLED, Light, light

VERSION = version("scanlight")


class Observer:
    """The facts as they can be trusted now, and since when the light has shown its state.

    A main loop that hangs leaves its last facts standing: once the heartbeat is older than the limit they
    carry a fault. `look` must be called often enough not to miss a change; times are those of the facts.
    """

    def __init__(
        self, board: Board, heartbeat_limit_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._board = board
        self._limit_s = heartbeat_limit_s
        self._monotonic = monotonic
        facts = self.facts()
        self._state = light(facts).state
        self._since = facts.published_at

    def facts(self) -> Facts:
        facts = self._board.facts
        if self._monotonic() - facts.heartbeat > self._limit_s:
            return replace(facts, faults=(*facts.faults, MAIN_LOOP_STALLED))
        return facts

    def look(self) -> tuple[Facts, Light, str]:
        """The facts, the light, and when its state began (UTC)."""
        facts = self.facts()
        shown = light(facts)
        if shown.state is not self._state:
            self._state, self._since = shown.state, facts.published_at
        return facts, shown, self._since


def status(facts: Facts, shown: Light, since: str) -> dict[str, Any]:
    """The body of `/api/status`. `why` has the codes behind FAULT."""
    values = asdict(facts)
    del values["heartbeat"], values["in_progress"]
    return {
        "state": shown.state,
        "why": shown.why,
        "counts": shown.counts,
        "bands": shown.bands,
        "since": since,
        "in_progress": [
            {"series": one.series_uid, "seen": one.seen, "stage": one.stage} for one in facts.in_progress
        ],
        "facts": values,
        "version": VERSION,
    }


def why_not_alive(facts: Facts) -> list[str]:
    """Empty while the main loop moves."""
    return [code for code in facts.faults if code == MAIN_LOOP_STALLED]


def why_not_ready(facts: Facts) -> list[str]:
    """Empty when the known answers passed and the export folder is up, as a loop that moves says."""
    reasons = why_not_alive(facts)
    if not facts.folder_up:
        reasons.append("export_folder_down")
    if facts.known_answer_ok is None:
        reasons.append("known_answers_pending")
    elif not facts.known_answer_ok:
        reasons.append("known_answers_failed")
    return reasons
