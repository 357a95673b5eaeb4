"""Watches one daemon from outside, as its users can: the results folder, the API, the metrics."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter, defaultdict
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tools.bench.completeness_outcomes import Told
from tools.own_daemon import NewResults, OwnDaemon

LOOK_S: Final = 0.02
ASK_S: Final = 0.1


class Observer(threading.Thread):
    """`told` and `thrown_away` are by series UID. A reading that was thrown away within moments is not seen;
    `readings_superseded` counts them all."""

    def __init__(self, daemon: OwnDaemon) -> None:
        super().__init__(daemon=True)
        self.told: defaultdict[str, list[Told]] = defaultdict(list)
        self.thrown_away: Counter[str] = Counter()
        self.idle_since: float | None = None
        """Since when nothing is in progress."""
        self._daemon = daemon
        self._new_results = NewResults(daemon.results)
        self._stages: dict[str, str] = {}
        self._stopping = threading.Event()

    def run(self) -> None:
        asked = 0.0
        while not self._stopping.wait(LOOK_S):
            now = time.monotonic()
            for record, _ in self._new_results():
                if record.series_uid is not None:
                    self.told[record.series_uid].append(Told(record, now))
            if now - asked >= ASK_S:
                asked = now
                # A busy machine answers late, and who waits for the end sees to a daemon that died.
                with contextlib.suppress(OSError):
                    self._ask(now)

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def readings_superseded(self) -> int:
        """How many readings were thrown away in all, by the daemon's own count."""
        families = text_string_to_metric_families(self._daemon.get("metrics"))
        name = "scanlight_readings_superseded"
        return int(next(family for family in families if family.name == name).samples[0].value)

    def _ask(self, now: float) -> None:
        in_progress = json.loads(self._daemon.get("api/status"))["in_progress"]
        stages = {one["series"]: one["stage"] for one in in_progress}
        for series, stage in stages.items():
            if stage == "receiving" and self._stages.get(series, stage) != stage:
                self.thrown_away[series] += 1
        self._stages = stages
        self.idle_since = None if stages else self.idle_since or now
