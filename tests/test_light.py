from __future__ import annotations

from dataclasses import replace

import pytest
from sample_facts import ready

from appliance.acceptance import NEVER
from appliance.facts import InProgress
from appliance.light import FAULTS, Band, State, light

SERIES = InProgress("1.2.3", 40, "receiving", "2026-03-01T08:00:00.000Z")
STARTING = {"known_answer_ok": None, "known_answer_age_s": None}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, State.READY),
        ({"in_progress": (SERIES,)}, State.READING),
        (STARTING, State.READING),
        ({"rescan_age_s": None}, State.READING),
        ({"not_analysed": 1}, State.NOT_ANALYSED),
        ({"failed": 1}, State.NOT_ANALYSED),
        ({"failed": 1, "in_progress": (SERIES,)}, State.NOT_ANALYSED),
        (STARTING | {"not_analysed": 1}, State.NOT_ANALYSED),
        ({"suspect": 1}, State.SUSPECT),
        ({"suspect": 1, "not_analysed": 2, "failed": 3, "in_progress": (SERIES,)}, State.SUSPECT),
        (STARTING | {"suspect": 1}, State.SUSPECT),
        ({"folder_up": False}, State.FAULT),
        ({"folder_up": False, "suspect": 1, "not_analysed": 1}, State.FAULT),
        ({"rescan_age_s": 30.0}, State.READY),
        ({"rescan_age_s": 30.1}, State.FAULT),
        ({"known_answer_age_s": 7200.0}, State.READY),
        ({"known_answer_age_s": 7200.1}, State.FAULT),
        ({"known_answer_ok": False}, State.FAULT),
        ({"conservation_error": -1}, State.FAULT),
        ({"faults": ("state_disk",)}, State.FAULT),
        ({"not_accepted": ("never_accepted",)}, State.READY),
    ],
)
def test_state(changes, state) -> None:
    assert light(ready(**changes)).state is state


def test_every_cause_of_a_fault_is_named_and_explained() -> None:
    shown = light(
        ready(
            folder_up=False,
            rescan_age_s=31.0,
            known_answer_ok=False,
            known_answer_age_s=7201.0,
            conservation_error=1,
            faults=(
                "engine_not_opened",
                "export_folder_hangs",
                "export_folder_unmounted",
                "folder_unreadable",
                "results_folder",
                "state_disk",
            ),
        )
    )
    assert set(shown.why) == FAULTS.keys() - {"main_loop_stalled", "station_unknown"}
    assert len(shown.why) == len(FAULTS) - 2
    assert light(ready()).why == ()


def test_counts_are_there_in_every_state() -> None:
    facts = ready(folder_up=False, suspect=1, not_analysed=2, failed=3, in_progress=(SERIES,) * 4)
    assert light(facts).counts == {"suspect": 1, "not_analysed": 2, "failed": 3, "in_progress": 4}
    assert set(light(ready()).counts.values()) == {0}


@pytest.mark.parametrize(
    ("intended_use", "accepted", "bands"),
    [
        ("placeholder", False, (Band.DEMO, Band.NOT_ACCEPTED)),
        ("demonstration", True, (Band.DEMO,)),
        ("research", False, (Band.NOT_ACCEPTED,)),
        ("clinical", True, ()),
    ],
)
def test_bands(intended_use, accepted, bands) -> None:
    model = replace(ready().model, intended_use=intended_use)
    assert light(ready(model=model, not_accepted=() if accepted else (NEVER,))).bands == bands
