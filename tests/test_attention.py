"""What nobody has looked at, and what people did about it, in a real journal."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.findings.record import SeriesRecord
from appliance.journal import MIGRATIONS, Journal, JournalReader, Mark
from appliance.reasons import Outcome, Reason
from appliance.shown import Label, Shown


class Ward:
    """A journal in which series end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path)

    def end(self, series: str, outcome: Outcome, *, study: str = "1", station: str = "") -> int:
        """The next revision of a series; returns the number of its study."""
        row = self.journal.series(series, study, shown=Shown(station))
        current = self.journal.current(row.id)
        revision = (current.revision or 0) + 1 if current else 1
        record = SeriesRecord(
            series_uid=series,
            study_uid=study,
            outcome=outcome,
            reason=Reason.MISSING_SLICE if outcome is Outcome.NOT_ANALYSED else None,
            revision=revision,
            reading_key=f"{series} {revision}",
            recorded_at="2026-03-01T08:00:00.000Z",
        )
        self.journal.end(row.id, [], [], finding=(record, "object", []))
        return row.study

    def attention(self, station: str | None = None) -> tuple[int, int, int]:
        """Studies that are suspect, of which a series was not analysed, of which one failed."""
        with closing(JournalReader(self.path)) as reader:
            found = reader.attention(station)
        return found["suspect"], found["not_analysed"], found["failed"]

    def newest_alarm(self) -> int:
        with closing(JournalReader(self.path)) as reader:
            return reader.counts().newest_alarm


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(tmp_path / "journal.db")
    yield ward
    ward.journal.close()


def test_a_study_is_suspect_until_somebody_acknowledges_it_and_again_when_that_is_taken_back(
    ward: Ward,
) -> None:
    study = ward.end("1.1", Outcome.FLAGGED)
    assert ward.end("1.2", Outcome.FLAGGED) == study
    other = ward.end("2.1", Outcome.FLAGGED, study="2")
    assert ward.attention() == (2, 0, 0)
    assert ward.journal.mark(study, Mark.ACKNOWLEDGED, "A. Reader") == 2
    assert ward.attention() == (1, 0, 0)
    assert ward.journal.mark(study, Mark.ACKNOWLEDGED, "B. Reader") == 0, "there is nothing to acknowledge"
    assert ward.journal.mark(study, Mark.TAKEN_BACK, "A. Reader") == 2
    assert ward.attention() == (2, 0, 0)
    assert ward.journal.mark(other, Mark.TAKEN_BACK, "A. Reader") == 0


def test_a_flag_that_stays_is_not_told_again_and_one_that_comes_back_is(ward: Ward) -> None:
    study = ward.end("1.1", Outcome.FLAGGED)
    first = ward.newest_alarm()
    ward.journal.mark(study, Mark.ACKNOWLEDGED, "A. Reader")
    ward.end("1.1", Outcome.FLAGGED)
    assert (ward.attention(), ward.newest_alarm()) == ((0, 0, 0), 0)
    ward.end("1.1", Outcome.NOT_FLAGGED)
    ward.end("1.1", Outcome.FLAGGED)
    assert ward.attention() == (1, 0, 0)
    assert ward.newest_alarm() > first


def test_a_second_series_of_a_study_that_waits_is_no_new_alarm_and_another_study_is(ward: Ward) -> None:
    ward.end("1.1", Outcome.FLAGGED)
    first = ward.newest_alarm()
    ward.end("1.2", Outcome.FLAGGED)
    assert ward.newest_alarm() == first
    ward.end("2.1", Outcome.FLAGGED, study="2")
    assert ward.newest_alarm() > first


def test_a_flag_is_not_withdrawn_in_silence(ward: Ward) -> None:
    study = ward.end("1.1", Outcome.FLAGGED)
    ward.end("1.1", Outcome.NOT_FLAGGED)
    assert ward.attention() == (1, 0, 0)
    assert ward.journal.mark(study, Mark.ACKNOWLEDGED, "A. Reader") == 1
    assert ward.attention() == (0, 0, 0)


def test_acknowledging_covers_what_was_there_and_nothing_later(ward: Ward) -> None:
    study = ward.end("1.1", Outcome.FLAGGED)
    seen = ward.newest_alarm()
    ward.end("1.2", Outcome.FLAGGED)
    assert ward.journal.mark(study, Mark.ACKNOWLEDGED, "A. Reader", upto=seen) == 1
    assert ward.attention() == (1, 0, 0)


def test_what_was_not_analysed_or_failed_is_seen_on_its_own_and_counts_while_it_is_current(
    ward: Ward,
) -> None:
    study = ward.end("1.1", Outcome.NOT_ANALYSED)
    ward.end("1.2", Outcome.FAILED)
    ward.end("1.3", Outcome.FLAGGED)
    ward.end("1.4", Outcome.SKIPPED)
    assert ward.attention() == (1, 1, 1)
    assert ward.journal.mark(study, Mark.SEEN, "A. Reader") == 2
    assert ward.attention() == (1, 0, 0)
    ward.end("1.2", Outcome.NOT_FLAGGED)
    assert ward.journal.mark(study, Mark.UNSEEN, "A. Reader") == 1, "the failure is no more"
    assert ward.attention() == (1, 1, 0)
    ward.end("1.1", Outcome.NOT_FLAGGED)
    assert ward.attention() == (1, 0, 0)


def test_a_view_of_one_scanner_counts_its_own(ward: Ward) -> None:
    ward.end("1.1", Outcome.FLAGGED, station="CT1")
    ward.end("2.1", Outcome.FAILED, study="2", station="CT2")
    with closing(JournalReader(ward.path)) as reader:
        assert [reader.is_unknown(one) for one in ("CT1", "ct1", "CT3")] == [False, True, True]
    assert [ward.attention(one) for one in (None, "CT1", "CT2", "CT3")] == [
        (1, 0, 1),
        (1, 0, 0),
        (0, 0, 1),
        (0, 0, 0),
    ]


def test_what_names_no_scanner_is_in_every_view(ward: Ward) -> None:
    ward.end("1.1", Outcome.FAILED)
    with closing(JournalReader(ward.path)) as reader:
        assert not reader.is_unknown("CT1"), "no scanner has a name yet"
    assert ward.attention("CT1") == ward.attention() == (0, 0, 1)


def test_no_more_of_a_label_is_kept_than_is_to_be_shown(ward: Ward) -> None:
    row = ward.journal.series("1.1", "1", shown=Shown(label="ACC-4711"))
    steps: list[tuple[Label, str]] = [
        ("accession", "ACC-4711"),
        ("accession_end", "…4711"),
        ("accession", "…4711"),
        ("none", ""),
    ]
    for label, kept in steps:
        ward.journal.narrow_labels(label)
        assert ward.journal.series("1.1", "1").label == kept
    assert row.label == "ACC-4711"


def test_what_people_do_is_noted_for_the_audit_log_with_what_it_covers(ward: Ward) -> None:
    study = ward.end("1.1", Outcome.FLAGGED)
    ward.journal.mark(study, Mark.ACKNOWLEDGED, "A. Reader")
    ward.journal.mark(study, Mark.ACKNOWLEDGED, "A. Reader")
    finding, acknowledged = [json.loads(entry) for _, entry in ward.journal.audit_waiting()]
    assert (finding["event"], finding["series"], finding["outcome"]) == ("finding", "1.1", "flagged")
    assert acknowledged["name"] == "A. Reader"
    assert (acknowledged["event"], acknowledged["study"]) == ("acknowledged", "1")
    assert acknowledged["findings"] == ["1.1 1"]


def test_the_rules_hold_for_what_an_older_version_writes_after_a_rollback(ward: Ward) -> None:
    """Its statements name only the columns that it knows."""
    study = ward.end("1.1", Outcome.NOT_FLAGGED)
    with closing(sqlite3.connect(ward.path)) as db:
        db.execute(
            "INSERT INTO series (subject, stack, study_uid, first_seen_at) VALUES ('1.2', 1, '1', 'x')"
        )
        series = db.execute("SELECT id, study_id FROM series WHERE subject = '1.2'").fetchone()
        assert series[1] == study
        db.execute(
            "INSERT INTO finding (series_id, revision, reading_key, outcome, recorded_at, record)"
            " VALUES (?, 1, 'k', 'flagged', 'x', '{}')",
            (series[0],),
        )
        db.commit()
    assert ward.attention() == (1, 0, 0)


def test_a_journal_of_before_counts_what_was_flagged_and_what_is_not_analysed_now(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as db:
        for script in MIGRATIONS[:2]:
            db.executescript(script)
        db.execute("INSERT INTO meta VALUES ('min_reader', '1')")
        db.execute("PRAGMA user_version = 2")
        for number, (study, outcomes) in enumerate(
            [("1", "flagged not_flagged"), ("1", "failed"), ("2", "failed not_flagged"), ("3", "flagged")], 1
        ):
            db.execute(
                "INSERT INTO series (id, subject, study_uid, first_seen_at) VALUES (?, ?, ?, 'x')",
                (number, f"1.{number}", study),
            )
            for revision, outcome in enumerate(outcomes.split(), 1):
                db.execute(
                    "INSERT INTO finding (series_id, revision, reading_key, outcome, recorded_at, record)"
                    " VALUES (?, ?, ?, ?, 'x', '{}')",
                    (number, revision, f"{number} {revision}", outcome),
                )
        db.commit()
    Journal(path).close()
    with closing(JournalReader(path)) as reader:
        found = reader.attention()
    assert (found["suspect"], found["not_analysed"], found["failed"]) == (2, 0, 1)
    with closing(sqlite3.connect(path)) as db:
        assert [row[0] for row in db.execute("SELECT study_id FROM series ORDER BY id")] == [1, 1, 3, 4]
