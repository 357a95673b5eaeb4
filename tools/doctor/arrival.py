"""From the last slice in an export folder to the flag in the results folder, by a daemon of its own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from appliance.config import Config
from appliance.known_answers import SERIES
from appliance.reasons import Outcome
from tools.doctor.check import Check, failed, judged
from tools.own_daemon import DaemonFailed, NewResults, OwnDaemon
from tools.replay.restamp import Original, fresh_uid
from tools.scanner import export

NAME: Final = "Last slice to flag"
LIMIT_S: Final = 2.5
SLICES_A_SECOND: Final = 60.0
PATIENCE_S: Final = 60.0
_LIMIT: Final = f"the slowest within {LIMIT_S:g} s"
_REMEDY: Final = (
    "see which part is slow: the engine and the state disk have lines of their own; completeness.floor_s is"
    " what is waited after the last slice"
)

EVERYTHING: Final = {"value": 1e-9, "reason": "only the time is measured: all is flagged"}


def arrival(config: Config, folder: Path, times: int, progress: Callable[[int], None]) -> Check:
    """Exports a series that ships so many times; everything is flagged there, whatever the model says of it.

    The daemon has the site's model, engine, workers and timing, and folders of its own in `folder`.
    """
    originals = [Original.of(path) for path in sorted((SERIES / "covid-left").glob("*.dcm"))]
    seconds: list[float] = []
    try:
        with OwnDaemon(folder, config.completeness.ceiling_s, settings=_settings(config)) as daemon:
            results = NewResults(daemon.results)
            for number in range(times):
                renamed = partial(fresh_uid, salt=str(number))
                last = 0.0
                contents = (one.stamped(renamed) for one in originals)
                for _ in export(contents, daemon.export_folder / str(number), SLICES_A_SECOND):
                    last = time.time()
                seconds.append(_flagged_at(daemon, results) - last)
                progress(number + 1)
    except (DaemonFailed, TimeoutError) as error:
        return failed(NAME, str(error), _LIMIT, _REMEDY)
    median, slowest = float(np.median(seconds)), max(seconds)
    return judged(
        NAME,
        slowest <= LIMIT_S,
        f"median {median:.2f} s, slowest {slowest:.2f} s of {times}, with completeness.floor_s"
        f" {config.completeness.floor_s:g}",
        _LIMIT,
        _REMEDY,
    )


def _settings(config: Config) -> dict[str, Any]:
    kept = (
        "engine",
        "engine_deadline_s",
        "workers",
        "worker_memory_mb",
        "worker_timeout_s",
        "memory_budget_mb",
    )
    pace = config.completeness
    return {
        **{name: getattr(config, name) for name in kept},
        **({"model": str(config.model)} if config.model else {}),
        "operating_point": EVERYTHING,
        "completeness": {"floor_s": pace.floor_s, "ceiling_s": pace.ceiling_s, "k": pace.k},
    }


def _flagged_at(daemon: OwnDaemon, results: NewResults) -> float:
    """When the next flag came (Unix time). Raises DaemonFailed or TimeoutError."""
    end = time.monotonic() + PATIENCE_S
    for turn in itertools.count():
        for record, at in results():
            if record.outcome is Outcome.FLAGGED:
                return at
            raise TimeoutError(
                f"The series ended as {record.outcome}, not flagged: {record.detail or 'no reason'}."
            )
        if time.monotonic() > end:
            raise TimeoutError(
                f"No flag came within {PATIENCE_S:.0f} s; the daemon said: {daemon.last_words()}"
            )
        if turn % 50 == 0:
            daemon.check()
        time.sleep(0.02)
    raise AssertionError
