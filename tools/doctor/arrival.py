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
from appliance.intake.folder import is_polled
from appliance.known_answers import SERIES
from appliance.reasons import Outcome
from tools.doctor.check import Check, failed, judged
from tools.own_daemon import DaemonFailed, NewResults, OwnDaemon
from tools.replay.restamp import Original, fresh_uid
from tools.scanner import export

NAME: Final = "Last slice to flag"
READING_S: Final = 1.0
"""After the quiet that is waited for: 2.5 s in all as it comes."""

POLLED_TIMES: Final = 3
"""Where a look at the folder takes its time, so many exports are enough."""

SLICES_A_SECOND: Final = 60.0
PATIENCE_S: Final = 60.0
_REMEDY: Final = (
    "see which part is slow: the engine and the state disk have lines of their own, and so has each part of a"
    " reading on the page"
)

EVERYTHING: Final = {"value": 1e-9, "reason": "only the time is measured: all is flagged"}


def arrival(config: Config, folder: Path, times: int, progress: Callable[[str], None]) -> Check:
    """Exports a series that ships so many times; everything is flagged there, whatever the model says of it.

    The daemon has the site's model, engine, workers and timing, and folders of its own in `folder`.
    """
    originals = [Original.of(path) for path in sorted((SERIES / "covid-left").glob("*.dcm"))]
    polled = is_polled(config.export_folder, config.polling)
    limit_s, words = limit(config, polled)
    times = min(times, POLLED_TIMES) if polled else times
    seconds: list[float] = []
    try:
        with OwnDaemon(folder, config.completeness.ceiling_s, settings=_settings(config, polled)) as daemon:
            results = NewResults(daemon.results)
            for number in range(times):
                renamed = partial(fresh_uid, salt=str(number))
                last = 0.0
                contents = (one.stamped(renamed) for one in originals)
                for _ in export(contents, daemon.export_folder / str(number), SLICES_A_SECOND):
                    last = time.time()
                seconds.append(_flagged_at(daemon, results, limit_s + PATIENCE_S) - last)
                progress(f"Last slice to flag: {number + 1} of {times}")
    except (DaemonFailed, TimeoutError) as error:
        return failed(NAME, str(error), words, _REMEDY)
    return judged(
        NAME,
        max(seconds) <= limit_s,
        f"median {np.median(seconds):.2f} s, 90 % within {np.percentile(seconds, 90):.2f} s, slowest"
        f" {max(seconds):.2f} s of {times}",
        words,
        _REMEDY,
    )


def limit(config: Config, polled: bool) -> tuple[float, str]:
    """Seconds, and the same in words."""
    floor_s = config.pace(polling=polled).floor_s
    look_s = config.rescan_s if polled else 0.0
    limit_s = floor_s + look_s + READING_S
    looked = f" and {look_s:g} s between two looks at a polled folder" if polled else ""
    return limit_s, f"the slowest within {limit_s:g} s: {floor_s:g} s of quiet{looked}, and {READING_S:g} s"


def _settings(config: Config, polled: bool) -> dict[str, Any]:
    kept = (
        *("engine", "engine_deadline_s", "workers", "worker_memory_mb", "worker_timeout_s"),
        *("memory_budget_mb", "rescan_s"),
    )
    pace = config.completeness
    return {
        **{name: getattr(config, name) for name in kept},
        **({"model": str(config.model)} if config.model else {}),
        "polling": "on" if polled else "off",
        "operating_point": EVERYTHING,
        "completeness": {"floor_s": pace.floor_s, "ceiling_s": pace.ceiling_s, "k": pace.k},
    }


def _flagged_at(daemon: OwnDaemon, results: NewResults, patience_s: float) -> float:
    """When the next flag came (Unix time). Raises DaemonFailed or TimeoutError."""
    end = time.monotonic() + patience_s
    for turn in itertools.count():
        for record, at in results():
            if record.outcome is Outcome.FLAGGED:
                return at
            raise TimeoutError(
                f"The series ended as {record.outcome}, not flagged: {record.detail or 'no reason'}."
            )
        if time.monotonic() > end:
            raise TimeoutError(
                f"No flag came within {patience_s:.0f} s; the daemon said: {daemon.last_words()}"
            )
        if turn % 50 == 0:
            daemon.check()
        time.sleep(0.02)
    raise AssertionError
