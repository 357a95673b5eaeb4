"""The delivery thread: carries recorded objects to their destinations until each has arrived."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance import logs
from appliance.delivery import results_folder
from appliance.faults import reach
from appliance.findings.objects import ObjectStore
from appliance.journal import Delivery, Journal

RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class DeliveriesOpen:
    """What is still to be delivered, by destination the time since which, and whether the last try failed."""

    oldest: dict[str, str]
    failing: bool


class Courier(threading.Thread):
    """Delivers in the order of recording; a destination that fails is tried again, later."""

    def __init__(
        self, journal: Journal, objects: ObjectStore, results: Path, post: Callable[[DeliveriesOpen], None]
    ) -> None:
        super().__init__(name="delivery", daemon=True)
        self._journal = journal
        self._objects = objects
        self._results = results
        self._post = post
        self._wake = threading.Event()
        self._stopping = False

    def wake(self) -> None:
        """A finding was recorded."""
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            left = [one for one in self._journal.open_deliveries() if not self._deliver(one)]
            oldest: dict[str, str] = {}
            for one in left:
                oldest.setdefault(one.destination, one.queued_at)
            self._post(DeliveriesOpen(oldest, failing=bool(left)))
            self._wake.wait(RETRY_S if left else None)

    def _deliver(self, delivery: Delivery) -> bool:
        if self._stopping:
            return False
        reach("delivery.begun")
        try:
            results_folder.deliver(self._results, delivery.name, self._objects.get(delivery.object))
            delivered = True
        except OSError as error:
            logs.event("delivery_failed", logging.ERROR, destination=delivery.destination, errno=error.errno)
            delivered = False
        reach("delivery.placed")
        try:
            self._journal.settle_delivery(delivery, delivered=delivered)
        except sqlite3.OperationalError as error:
            logs.event("delivery_not_noted", logging.ERROR, code=error.sqlite_errorname)
            return False
        reach("delivery.settled")
        return delivered
