"""Facts of an appliance that is READY."""

from __future__ import annotations

import time
from dataclasses import replace

from appliance.facts import Facts, ModelFacts
from engines.protocol import EngineIdentity

READY = Facts(
    heartbeat=0.0,
    published_at="2026-03-01T08:00:00.000Z",
    started_at="2026-03-01T07:00:00.000Z",
    folder_up=True,
    rescan_age_s=3.0,
    rescan_limit_s=30.0,
    rescan_at=1772352000.0,
    known_answer_ok=True,
    known_answer_age_s=60.0,
    known_answer_limit_s=7200.0,
    known_answer_at=1772351940.0,
    model=ModelFacts(
        name="densitometry",
        version="1.0.0",
        digest="d" * 64,
        intended_use="clinical",
        notice="a notice of the model",
        operating_point=0.5,
        engine=EngineIdentity("onnxruntime", "CPU 1.24", "a processor"),
    ),
    not_accepted=(),
    faults=(),
    suspect=0,
    not_analysed=0,
    failed=0,
    newest_alarm=0,
    oldest_alarm_s=0.0,
    lamp="off",
    reloaded=None,
    closed_folders=(),
    in_progress=(),
    queue_depth={"parse": 0, "infer": 0, "record": 0},
    oldest_pending_s=0.0,
    delivery_oldest_s={},
    disk_free_bytes={"state": 10**9},
    conservation_error=0,
    gpus=(),
)


def ready(**changes: object) -> Facts:
    """Those facts, published now, with changes."""
    return replace(READY, **{"heartbeat": time.monotonic(), **changes})
