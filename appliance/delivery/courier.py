"""The delivery thread: carries recorded objects to their destinations until each has arrived."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import logs
from appliance.delivery import results_folder
from appliance.faults import reach
from appliance.findings.objects import ObjectStore
from appliance.journal import Delivery, Journal

RETRY_S = 5.0
OF_THE_NAME = frozenset((errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY))
"""Something else has the name of this one result; others can be placed."""


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
        self._busy_since: float | None = None

    def wake(self) -> None:
        """A finding was recorded."""
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def busy_for(self, now: float) -> float:
        """Seconds that a destination has owed an answer, 0 where none does."""
        since = self._busy_since
        return 0.0 if since is None else now - since

    def run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            left = self._carry(self._journal.open_deliveries())
            oldest: dict[str, str] = {}
            for one in left:
                oldest.setdefault(one.destination, one.queued_at)
            self._post(DeliveriesOpen(oldest, failing=bool(left)))
            self._wake.wait(RETRY_S if left else None)

    def _carry(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Deliver in order; what a destination refuses holds up all behind it. Returns what is left."""
        left: list[Delivery] = []
        refusing: set[str] = set()
        for one in deliveries:
            if self._stopping or one.destination in refusing:
                left.append(one)
                continue
            reach("delivery.begun")
            try:
                content = self._objects.get(one.object)
            except OSError as error:
                # Its object alone is to blame: the next one may be whole.
                delivered = self._failed(one, error)
            else:
                delivered = self._deliver(one, content, refusing)
            reach("delivery.placed")
            self._journal.settle_delivery(one, delivered=delivered)
            reach("delivery.settled")
            if not delivered:
                left.append(one)
        return left

    def _deliver(self, delivery: Delivery, content: bytes, refusing: set[str]) -> bool:
        self._busy_since = time.monotonic()
        try:
            results_folder.deliver(self._results, delivery.name, content)
        except OSError as error:
            if error.errno not in OF_THE_NAME:
                refusing.add(delivery.destination)
            return self._failed(delivery, error)
        finally:
            self._busy_since = None
        return True

    def _failed(self, delivery: Delivery, error: OSError) -> bool:
        logs.event("delivery_failed", logging.ERROR, destination=delivery.destination, errno=error.errno)
        return False
