"""The delivery thread with a real journal, real objects and a results folder that is there or not."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.delivery import courier
from appliance.delivery.courier import Courier, DeliveriesOpen
from appliance.findings.objects import ObjectStore
from appliance.findings.record import SeriesRecord
from appliance.journal import Journal, JournalReader
from appliance.reasons import Outcome
from appliance.state_disk import StateDisk

DESTINATION = "results_folder"


class Post:
    """A courier at work; `told` is what it tells of each round."""

    def __init__(self, folder: Path) -> None:
        self.objects = folder / "objects"
        self.results = folder / "results"
        self.objects.mkdir()
        self.journal = Journal(folder / "journal.db")
        self.told: queue.Queue[DeliveriesOpen] = queue.Queue()
        self.store = ObjectStore(self.objects, StateDisk())
        self.courier = Courier(self.journal, self.store, self.results, self.told.put)

    def record(self, uid: str) -> str:
        """A finding to deliver; returns its object."""
        stored = self.store.put(uid.encode(), ".json")
        record = SeriesRecord(
            series_uid=uid, outcome=Outcome.FLAGGED, revision=1, reading_key=uid, recorded_at="2026"
        )
        finding = (record, stored, [(DESTINATION, f"{uid}.r1.json")])
        self.journal.end(self.journal.series(uid, "1").id, [], [], finding=finding)
        return stored

    def failures(self) -> int:
        return sum(
            total.events
            for total in JournalReader(self.journal.path).totals()
            if (total.name, total.label, total.label2) == ("deliveries", DESTINATION, "failed")
        )


@pytest.fixture
def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    monkeypatch.setattr(courier, "RETRY_S", 60.0)
    post = Post(tmp_path)
    yield post
    post.courier.stop()
    post.courier.join(10)


def test_a_destination_that_refuses_is_tried_once_a_round_and_gets_all_in_the_end(post: Post) -> None:
    for uid in ("1.1", "1.2", "1.3"):
        post.record(uid)
    post.courier.start()
    assert post.told.get(timeout=10).failing
    assert post.failures() == 1
    post.results.mkdir()
    post.courier.wake()
    assert not post.told.get(timeout=10).failing
    assert sorted(path.read_text() for path in post.results.iterdir()) == ["1.1", "1.2", "1.3"]
    assert post.journal.open_deliveries() == []


def test_an_object_that_is_gone_holds_up_no_other(post: Post) -> None:
    post.results.mkdir()
    gone = post.record("1.1")
    post.record("1.2")
    (post.objects / gone).unlink()
    post.courier.start()
    told = post.told.get(timeout=10)
    assert (told.failing, list(told.oldest)) == (True, [DESTINATION])
    assert [path.name for path in post.results.iterdir()] == ["1.2.r1.json"]
    assert [one.name for one in post.journal.open_deliveries()] == ["1.1.r1.json"]
