"""What the API says of the facts: the status, and whether the daemon is alive and ready. No I/O."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any, Final

from appliance.facts import Board, Facts
from appliance.light import MAIN_LOOP_STALLED, STATION_UNKNOWN, Light, State, light
from appliance.studies import UID_END

VERSION = version("scanlight")

NOTICES: Final = {
    "lamp_failing": "the lamp does not work: its command fails",
    "configuration_refused": "the changed configuration has mistakes, and the one before stays in use",
    "engine_fallback": "the GPU does not run the model's plan, and the processor reads: scanlight status"
    " says why",
    "settings_wait": "some changed settings wait until Scanlight is started again",
}
"""What IT should know of beside the state, by code."""

STATIONS_KEPT: Final = 64


class Observer:
    """The facts as they can be trusted now, and since when the light has shown its state.

    A main loop that hangs leaves its last facts standing: once the heartbeat is older than the limit they
    carry a fault. `look` must be called often enough not to miss a change; times are those of the facts.

    One scanner has a light of its own, with what is seen of it alone and the faults of all; its state is
    followed from the first look at it on.
    """

    def __init__(
        self, board: Board, heartbeat_limit_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._board = board
        self._limit_s = heartbeat_limit_s
        self._monotonic = monotonic
        facts = self.facts()
        self._since = (light(facts).state, facts.published_at)
        self._stations: OrderedDict[str, tuple[State, str]] = OrderedDict()

    def facts(self) -> Facts:
        facts = self._board.facts
        if self._monotonic() - facts.heartbeat > self._limit_s:
            return replace(facts, faults=(*facts.faults, MAIN_LOOP_STALLED))
        return facts

    def look(self) -> tuple[Facts, Light, str]:
        """The facts, the light, and when its state began (UTC)."""
        facts = self.facts()
        shown = light(facts)
        self._since = _since(self._since, shown.state, facts.published_at)
        return facts, shown, self._since[1]

    def look_at(
        self, station: str, attention: Mapping[str, int], *, unknown: bool
    ) -> tuple[Facts, Light, str]:
        """The same of one scanner, of which `attention` is what nobody has looked at.

        A view of a scanner that is `unknown` would be READY for ever.
        """
        facts = of_station(self.facts(), station, attention)
        if unknown:
            facts = replace(facts, faults=(*facts.faults, STATION_UNKNOWN))
        shown = light(facts)
        since = _since(self._stations.pop(station, None), shown.state, facts.published_at)
        self._stations[station] = since
        if len(self._stations) > STATIONS_KEPT:
            self._stations.popitem(last=False)
        return facts, shown, since[1]


def of_station(facts: Facts, station: str, attention: Mapping[str, int]) -> Facts:
    """What of the facts concerns one scanner; what concerns the appliance stays."""
    in_progress = tuple(one for one in facts.in_progress if one.station in (station, ""))
    counts: dict[str, Any] = dict(attention)
    return replace(facts, **counts, in_progress=in_progress)


def status(facts: Facts, shown: Light, since: str, *, private: bool = False) -> dict[str, Any]:
    """The body of `/api/status`. `why` has the codes behind FAULT, `notices` those of less.

    Names of folders may hold those of patients: they are for who may enter the state folder, `private`.
    """
    values = asdict(replace(facts, in_progress=()))
    del values["heartbeat"], values["in_progress"]
    if not private:
        del values["closed_folders"]
    return {
        "state": shown.state,
        "why": shown.why,
        "counts": shown.counts,
        "bands": shown.bands,
        "since": since,
        "newest_alarm": facts.newest_alarm,
        "notices": notices(facts),
        "in_progress": [
            {
                "series": one.series_uid[-UID_END:],
                "study": one.study,
                "label": one.label,
                "seen": one.seen,
                "stage": one.stage,
                "since": one.since,
            }
            for one in facts.in_progress
        ],
        "facts": values,
        "version": VERSION,
    }


def notices(facts: Facts) -> list[str]:
    """Codes of what is not as it should be and hinders nothing."""
    present = {
        "lamp_failing": facts.lamp == "failing",
        "configuration_refused": facts.reloaded is not None and facts.reloaded.mistakes > 0,
        "engine_fallback": facts.model.engine is not None and facts.model.engine_why != "",
        "settings_wait": facts.reloaded is not None and bool(facts.reloaded.refused),
    }
    return [code for code in NOTICES if present[code]]


def _since(before: tuple[State, str] | None, state: State, now: str) -> tuple[State, str]:
    return (state, now) if before is None or before[0] is not state else before


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
