"""The status light: a pure function from facts to one primary state, its reasons and always the counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.facts import Facts


class State(StrEnum):
    """In order of priority. The page alone adds `no_signal`, for a daemon that does not answer."""

    FAULT = "fault"
    SUSPECT = "suspect"
    NOT_ANALYSED = "not_analysed"
    READING = "reading"
    READY = "ready"


MAIN_LOOP_STALLED = "main_loop_stalled"
"""Found by whoever reads the facts: a loop that hangs cannot say so itself."""

STATION_UNKNOWN = "station_unknown"
"""Of a view that is limited to one scanner."""

FAULTS = {
    STATION_UNKNOWN: "no scanner of the name in this page's address was ever seen: correct the address",
    MAIN_LOOP_STALLED: "Scanlight hangs and will be started again",
    "export_folder_down": "the export folder cannot be read, or is another file system than before",
    "export_folder_hangs": "the export folder does not answer: check its disk, or the share and the network",
    "export_folder_unmounted": "what was mounted at the export folder is not there: mount it again",
    "folder_unreadable": "a folder in the export folder cannot be opened: check its permissions, scanlight"
    " status names it",
    "rescan_late": "the export folder has not been scanned in time",
    "engine_not_opened": "the engine does not open, so nothing is read: scanlight status says why",
    "known_answers_failed": "the known answers came out wrong, so nothing is read",
    "known_answers_late": "the known answers have not been run in time",
    "state_disk": "the state folder cannot be written: its disk is full or failing",
    "results_folder": "results cannot be written to the results folder",
    "conservation_error": "the number of series in the folder and on record differ",
}
"""What a code behind FAULT means."""


class Band(StrEnum):
    """Shown beside every state."""

    DEMO = "DEMO"
    NOT_ACCEPTED = "NOT ACCEPTED"


@dataclass(frozen=True, slots=True)
class Light:
    """`why` has the codes behind FAULT; `counts` has suspect, not_analysed, failed and in_progress."""

    state: State
    why: tuple[str, ...]
    counts: dict[str, int]
    bands: tuple[Band, ...]


def light(facts: Facts) -> Light:
    """What the light shows for these facts."""
    counts = {
        "suspect": facts.suspect,
        "not_analysed": facts.not_analysed,
        "failed": facts.failed,
        "in_progress": len(facts.in_progress),
    }
    why = faults(facts)
    return Light(_state(facts, why), why, counts, _bands(facts))


def one_line(light: Light) -> str:
    """The state, its codes and the counts in words, for `systemctl status`."""
    why = f" ({', '.join(light.why)})" if light.why else ""
    counts = ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in light.counts.items())
    return f"{light.state.replace('_', ' ')}{why}: {counts}"


def faults(facts: Facts) -> tuple[str, ...]:
    """The codes of what needs IT; empty when all is well."""
    rescan, answers = facts.rescan_age_s, facts.known_answer_age_s
    found = (
        ("export_folder_down", not facts.folder_up),
        ("rescan_late", rescan is not None and rescan > facts.rescan_limit_s),
        ("known_answers_failed", facts.known_answer_ok is False),
        ("known_answers_late", answers is not None and answers > facts.known_answer_limit_s),
        ("conservation_error", facts.conservation_error != 0),
    )
    return tuple(code for code, wrong in found if wrong) + facts.faults


def _state(facts: Facts, why: tuple[str, ...]) -> State:
    if why:
        return State.FAULT
    if facts.suspect:
        return State.SUSPECT
    if facts.not_analysed or facts.failed:
        return State.NOT_ANALYSED
    starting = facts.known_answer_ok is None or facts.rescan_age_s is None
    if facts.in_progress or starting:
        return State.READING
    return State.READY


def _bands(facts: Facts) -> tuple[Band, ...]:
    demo = facts.model.intended_use in ("placeholder", "demonstration")
    return ((Band.DEMO,) if demo else ()) + ((Band.NOT_ACCEPTED,) if facts.not_accepted else ())
