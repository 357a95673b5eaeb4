import os
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from appliance.findings.record import SeriesRecord
from appliance.journal import (
    BACKLOG,
    MIGRATIONS,
    Event,
    Journal,
    JournalDamaged,
    JournalError,
    JournalReader,
    KnownFile,
    Total,
)
from appliance.reasons import Outcome, Reason
from appliance.records import Arrival, FileIdentity

UID = "1.2.3"
FILE = KnownFile("/export/a.dcm", FileIdentity(1, 2, 3), "slice", None)


def record(revision: int, outcome: Outcome = Outcome.FLAGGED, reason: Reason | None = None) -> SeriesRecord:
    return SeriesRecord(
        series_uid=UID,
        study_uid="1.2",
        outcome=outcome,
        reason=reason,
        revision=revision,
        reading_key=f"key{revision}",
        supersedes=f"key{revision - 1}" if revision > 1 else None,
        recorded_at="2026-01-01T00:00:00.000Z",
        spacing_mm=(2.0, 0.7, 0.7),
        timings_ms={"parse": 1.5},
    )


def test_a_name_that_is_not_utf8_is_kept(path: Path) -> None:
    journal = Journal(path)
    name = os.fsdecode(b"/export/M\xfcller.dcm")
    journal.add_files([KnownFile(name, FileIdentity(1, 1, 1), "other", None)])
    assert journal.not_on_record([name, "/export/other"]) == ["/export/other"]
    assert [one.path for one in journal.known_files()] == [name]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def end(journal: Journal, revision: int, *, unconfirmed: bool = False, **kwargs: object) -> int:
    row = journal.series(UID, "1.2")
    destinations = [("results_folder", f"{UID}.r{revision}.json")]
    journal.end(
        row.id,
        [FILE],
        [Event("series", "flagged")],
        finding=(record(revision, **kwargs), f"object{revision}", destinations),
        unconfirmed=unconfirmed,
    )
    return row.id


def test_a_finding_its_files_events_and_deliveries_are_one(path: Path) -> None:
    journal = Journal(path)
    series_id = end(journal, 1)
    reader = JournalReader(path)
    assert reader.records() == [record(1)]
    assert [one.path for one in journal.files_of(series_id)] == [FILE.path]
    (delivery,) = journal.open_deliveries()
    assert (delivery.object, delivery.name) == ("object1", "1.2.3.r1.json")
    assert reader.totals() == [Total("series", "flagged", "", inf, 1, 1.0)]


def test_nothing_of_a_failed_transaction_stays(path: Path) -> None:
    journal = Journal(path)
    end(journal, 1)
    with pytest.raises(sqlite3.IntegrityError):
        end(journal, 1)
    assert len(journal.open_deliveries()) == 1
    assert [one.events for one in JournalReader(path).totals()] == [1]
    end(journal, 2)


def test_the_current_finding_is_the_newest_revision(path: Path) -> None:
    journal = Journal(path)
    series_id = end(journal, 1)
    end(journal, 2, outcome=Outcome.NOT_FLAGGED)
    reader = JournalReader(path)
    assert journal.current(series_id) == record(2, Outcome.NOT_FLAGGED)
    assert [one.revision for one in reader.records()] == [2]
    assert [one.revision for one in reader.revisions(UID)] == [1, 2]
    assert journal.reading(series_id, "key1") is not None
    assert journal.reading(series_id, "key3") is None


def test_counts_are_of_current_findings(path: Path) -> None:
    journal = Journal(path)
    end(journal, 1)
    journal.series("1.9", "1.8")
    counts = JournalReader(path).counts()
    assert (counts.series, counts.ended, counts.in_flight, counts.suspect) == (2, 1, 1, 1)
    end(journal, 2, outcome=Outcome.FAILED, reason=Reason.ENGINE_ERROR)
    counts = JournalReader(path).counts()
    assert (counts.suspect, counts.failed) == (1, 1), "a flag stands until a person has seen it"


def test_only_files_of_series_that_ended_are_known(path: Path) -> None:
    journal = Journal(path)
    series_id = end(journal, 1)
    journal.add_files([KnownFile("/export/readme", FileIdentity(1, 1, 1), "other", None)])
    assert {one.path for one in journal.known_files()} == {FILE.path, "/export/readme"}
    journal.reopen(series_id)
    assert {one.path for one in journal.known_files()} == {"/export/readme"}


def test_a_try_is_kept_when_the_process_ends_inside_it(path: Path) -> None:
    journal = Journal(path)
    row = journal.series(UID, "1.2")
    journal.charge_try(row.id)
    journal.settle_try(row.id, success=True)
    assert journal.series(UID, "1.2").tries == 0
    journal.charge_try(row.id)
    again = Journal(path)
    again.abandon_tries()
    row = again.series(UID, "1.2")
    assert (row.tries, row.in_try) == (1, False)


def test_a_delivery_stays_open_until_it_has_arrived(path: Path) -> None:
    journal = Journal(path)
    end(journal, 1)
    (delivery,) = journal.open_deliveries()
    journal.settle_delivery(delivery, delivered=False)
    (delivery,) = journal.open_deliveries()
    assert delivery.tries == 1
    journal.settle_delivery(delivery, delivered=True)
    assert journal.open_deliveries() == []


def test_a_journal_of_a_newer_version_is_refused_unless_it_can_be_read(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    Journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '98' WHERE key = 'min_reader'")
    with pytest.raises(JournalError, match="newer version"):
        Journal(path)


def test_a_journal_with_broken_pages_is_refused(path: Path) -> None:
    journal = Journal(path)
    for number in range(50):
        journal.series(f"1.2.3.{number}", "1.2")
    journal.close()
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 12] = b"\xff" * (4096 * 9)
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match="is damaged: run scanlight rebuild"):
        Journal(path)


def test_a_journal_of_the_version_before_is_brought_up_and_a_copy_kept(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(MIGRATIONS[0])
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO series (subject, first_seen_at) VALUES ('1.2.3', '2026')")
    with pytest.raises(JournalError, match="older version"):
        JournalReader(path)
    assert Journal(path).series("1.2.3", None).id == 1
    with sqlite3.connect(path.with_suffix(".v1.bak")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT subject FROM series").fetchall() == [("1.2.3",)]


def test_a_reading_is_confirmed_by_the_next_known_answers_unless_it_is_to_be_read_again(path: Path) -> None:
    journal = Journal(path)
    end(journal, 1, unconfirmed=True)
    assert journal.unconfirmed() == [UID]
    assert journal.try_again([UID, "1.9"], "2026-01-02T00:00:00.000Z") == 1
    journal.confirm("2026-01-02T00:00:01.000Z")
    reader = JournalReader(path)
    assert reader.records()[0].confirmed_at is None
    end(journal, 2, unconfirmed=True)
    assert [one.confirmed_at for one in reader.revisions(UID)] == [None, None]
    journal.confirm("2026-01-02T00:00:02.000Z")
    assert [one.confirmed_at for one in reader.revisions(UID)] == [None, "2026-01-02T00:00:02.000Z"]
    assert journal.unconfirmed() == []


def test_files_from_before_the_installation_are_known_and_wait_for_their_series(path: Path) -> None:
    journal = Journal(path)
    old = [KnownFile(f"/export/{n:04}.dcm", FileIdentity(n, n, n), BACKLOG, None) for n in range(1200)]
    journal.add_files(old)
    assert {one.path for one in Journal(path).known_files()} == {one.path for one in old}
    first = journal.backlog(2)
    assert first == [Arrival(Path(one.path), one.identity) for one in old[:2]]
    journal.add_files([replace(old[0], kind="before_installation"), replace(old[1], kind="other")])
    assert first[0] not in journal.backlog(2000)
    assert len(journal.backlog(2000)) == 1198


def test_a_journal_that_is_none_is_refused(path: Path) -> None:
    path.write_bytes(b"this is no database, but long enough to look like one" * 100)
    with pytest.raises(JournalError, match="is damaged: run scanlight rebuild"):
        Journal(path)
    with pytest.raises(JournalError, match="no readable journal"):
        JournalReader(path.with_name("missing.db"))


def test_the_reader_cannot_write(path: Path) -> None:
    Journal(path).close()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        JournalReader(path)._db.execute("DELETE FROM meta")


def test_a_series_is_found_by_its_end(path: Path) -> None:
    journal = Journal(path)
    for uid in ("1.2.34", "1.2.134", "9.%_34"):
        journal.series(uid, "1")
    reader = JournalReader(path)
    assert reader.subjects_ending_with("2.34") == ["1.2.34"]
    assert len(reader.subjects_ending_with("34")) == 3
    assert reader.subjects_ending_with("%") == []


def test_a_parked_series_is_put_off_until_a_success(path: Path) -> None:
    journal = Journal(path)
    row = journal.series(UID, "1.2")
    for times in (1, 2):
        journal.end(row.id, [], [], next_try_at="2026-01-01T00:00:00.000Z")
        assert journal.series(UID, "1.2").parked == times
    due = journal.due_tries("2026-01-01T00:00:00.001Z", "2026-01-02T00:00:00.000Z", 10)
    assert [one.subject for one in due] == [UID]
    assert journal.due_tries("2025-12-31T23:59:59.999Z", "2026-01-01T23:59:59.999Z", 10) == []
    journal.reopen(row.id)
    assert journal.due_tries("2027-01-01T00:00:00.000Z", "2027-01-02T00:00:00.000Z", 10) == []
    journal.settle_try(row.id, success=True)
    assert journal.series(UID, "1.2").parked == 0


def test_a_clock_that_was_set_back_neither_holds_up_a_try_nor_turns_the_deliveries_round(path: Path) -> None:
    journal = Journal(path)
    row = journal.series(UID, "1.2")
    journal.end(row.id, [], [], next_try_at="2099-01-01T00:00:00.000Z")
    due = journal.due_tries("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z", 10)
    assert [one.subject for one in due] == [UID]

    for revision in (1, 2):
        finding = record(revision), str(revision), [("results", f"r{revision}")]
        journal.end(row.id, [], [], finding=finding)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE delivery SET queued_at = '2000-01-01T00:00:00.000Z' WHERE name = 'r2'")
    assert [one.name for one in journal.open_deliveries()] == ["r1", "r2"]


EVENTS = (
    *[Event("series", "skipped", "localizer")] * 3,
    Event("files", "slice", value=120),
    Event("files", "slice", value=80),
    Event("stage_duration", "infer", value=0.1),
    Event("stage_duration", "infer", value=0.07),
    Event("stage_duration", "infer", value=61.5),
    Event("probability", value=0.95),
    Event("probability", value=1.0),
)
ADDED_UP = [
    Total("files", "slice", "", inf, 2, 200.0),
    Total("probability", "", "", 0.95, 1, 0.95),
    Total("probability", "", "", 1.0, 1, 1.0),
    Total("series", "skipped", "localizer", inf, 3, 3.0),
    Total("stage_duration", "infer", "", 0.1, 2, pytest.approx(0.17)),
    Total("stage_duration", "infer", "", inf, 1, 61.5),
]


def added_up(path: Path) -> list[Total]:
    return sorted(JournalReader(path).totals(), key=lambda one: (one.name, one.up_to))


def test_events_are_added_up_in_their_buckets(path: Path) -> None:
    journal = Journal(path)
    journal.add_files([], EVENTS[:4])
    journal.add_files([], EVENTS[4:])
    assert added_up(path) == ADDED_UP


def test_what_happened_before_there_were_sums_is_in_them(path: Path) -> None:
    with sqlite3.connect(path) as db:
        for script in MIGRATIONS[:3]:
            db.executescript(script)
        db.execute("PRAGMA user_version = 3")
        write_as_before(db, EVENTS[:6])
    Journal(path).close()
    # After a rollback, the version before goes on writing.
    with sqlite3.connect(path) as db:
        write_as_before(db, EVENTS[6:])
    assert added_up(path) == ADDED_UP


def write_as_before(db: sqlite3.Connection, events: Sequence[Event]) -> None:
    db.executemany(
        "INSERT INTO event (at, name, label, label2, value) VALUES ('2026', ?, ?, ?, ?)",
        [(one.name, one.label, one.label2, one.value) for one in events],
    )
