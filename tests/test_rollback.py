"""A journal that a newer version has changed, put back and kept aside."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command import scanlight

from appliance.findings.record import SeriesRecord
from appliance.journal import MIGRATIONS, Journal, JournalReader
from appliance.reasons import Outcome
from appliance.rollback import RollbackError, restore

OURS = len(MIGRATIONS)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """One that this version wrote."""
    path = tmp_path / "journal.db"
    Journal(path).close()
    return path


def raised_to(path: Path, version: int, min_reader: int, note: str) -> None:
    """As a newer version leaves it: the journal from before is kept, the rest in the write-ahead log."""
    with closing(sqlite3.connect(path)) as db:
        if version - 1 >= OURS:
            with closing(sqlite3.connect(path.with_suffix(f".v{version - 1}.bak"))) as copy:
                db.backup(copy)
        with db:
            db.execute(f"PRAGMA user_version = {version}")
            db.execute("UPDATE meta SET value = ? WHERE key = 'min_reader'", (str(min_reader),))
            db.execute("INSERT OR REPLACE INTO meta VALUES ('note', ?)", (note,))


def note(path: Path) -> str | None:
    with closing(sqlite3.connect(path)) as db:
        row = db.execute("SELECT value FROM meta WHERE key = 'note'").fetchone()
    return row[0] if row else None


def test_a_journal_that_can_be_read_is_left_alone(journal: Path) -> None:
    assert restore(journal) is None
    raised_to(journal, OURS + 1, OURS, "additive")
    assert restore(journal) is None
    assert note(journal) == "additive"


def test_the_newest_backup_that_can_be_read_comes_back_and_the_newer_journal_stays(journal: Path) -> None:
    raised_to(journal, OURS + 1, OURS, "additive")
    raised_to(journal, OURS + 2, OURS + 2, "strange")
    raised_to(journal, OURS + 3, OURS + 2, "stranger")
    restored = restore(journal)
    assert restored is not None
    assert restored.backup.name == f"journal.v{OURS + 1}.bak"
    assert note(journal) == "additive"
    assert note(restored.aside) == "stranger"
    Journal(journal).close()


def test_what_only_the_write_ahead_log_has_is_kept_aside_too(journal: Path) -> None:
    raised_to(journal, OURS + 1, OURS + 1, "first")
    # A process that ends without closing leaves its log.
    held = sqlite3.connect(journal)
    held.execute("PRAGMA wal_autocheckpoint = 0")
    with held:
        held.execute("UPDATE meta SET value = 'last' WHERE key = 'note'")
    copies = {path.name: path.read_bytes() for path in journal.parent.glob("journal.db*")}
    held.close()
    for name, content in copies.items():
        (journal.parent / name).write_bytes(content)
    assert (journal.parent / "journal.db-wal").stat().st_size > 0
    restored = restore(journal)
    assert restored is not None
    assert note(restored.aside) == "last"
    assert note(journal) is None


def test_without_a_backup_the_journal_stays(journal: Path) -> None:
    raised_to(journal, OURS + 1, OURS + 1, "strange")
    for backup in journal.parent.glob("*.bak"):
        backup.unlink()
    with pytest.raises(RollbackError, match="go on with the newer version"):
        restore(journal)
    assert note(journal) == "strange"


def test_the_command_says_what_it_did_and_leaves_a_daemon_alone(journal: Path) -> None:
    config = journal.with_name("site.yaml")
    config.write_text(f"export_folder: /srv/ct\nstate_folder: {journal.parent}\n")
    done = scanlight("rollback", "--config", config)
    assert (done.returncode, done.stdout) == (0, "The journal can be read as it is.\n")
    raised_to(journal, OURS + 1, OURS + 1, "strange")
    done = scanlight("rollback", "--config", config)
    (aside,) = journal.parent.glob("*.aside")
    assert str(aside) in done.stdout
    raised_to(journal, OURS + 1, OURS + 1, "strange")
    with (journal.parent / "lock").open("w") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        done = scanlight("rollback", "--config", config)
    assert done.returncode == 2
    assert "stop it first" in done.stderr
    journal.unlink()
    assert scanlight("rollback", "--config", config).returncode == 0


def test_what_was_delivered_since_the_backup_is_on_record_and_not_delivered_again(journal: Path) -> None:
    config = journal.with_name("site.yaml")
    config.write_text(f"export_folder: /srv/ct\nstate_folder: {journal.parent}\n")
    raised_to(journal, OURS + 1, OURS + 1, "strange")
    record = SeriesRecord(
        series_uid="1.2.3",
        study_uid="1.2",
        outcome=Outcome.FLAGGED,
        revision=1,
        reading_key="key",
        recorded_at="2026-01-01T00:00:00.000Z",
    )
    for folder in ("results", "objects"):
        (journal.parent / folder).mkdir(exist_ok=True)
    (journal.parent / "results" / "1.2.3.r1.json").write_text(record.to_json() + "\n")
    assert scanlight("rollback", "--config", config).returncode == 0
    assert JournalReader(journal).records() == [record]
    with closing(Journal(journal)) as back:
        assert back.open_deliveries() == []
        assert back.reading(back.series("1.2.3", "1.2").id, "key") == record


def test_files_of_series_that_ended_since_the_backup_are_known(journal: Path) -> None:
    raised_to(journal, OURS + 1, OURS + 1, "strange")
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute(
            "INSERT INTO series (id, subject, study_uid, first_seen_at, ended) VALUES (70, '1.9', '1', '', 1)"
        )
        db.execute(
            "INSERT INTO series (id, subject, study_uid, first_seen_at, ended) VALUES (71, '1.8', '1', '', 0)"
        )
        db.execute("INSERT INTO file VALUES (CAST('/x/a' AS BLOB), 1, 2, 3, 'slice', 70)")
        db.execute("INSERT INTO file VALUES (CAST('/x/b' AS BLOB), 1, 2, 3, 'slice', 71)")
        db.execute("INSERT INTO file VALUES (CAST('/x/c' AS BLOB), 1, 2, 3, 'other', NULL)")
    assert restore(journal) is not None
    with closing(Journal(journal)) as back:
        assert [one.path for one in back.known_files()] == ["/x/a", "/x/c"]
        assert [one.path for one in back.files_of(back.series("1.9", "1").id)] == ["/x/a"]


def test_a_rollback_that_dies_leaves_the_newer_journal_in_place(journal: Path) -> None:
    raised_to(journal, OURS + 1, OURS + 1, "strange")

    def die(completed: Journal) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(journal, die)
    assert note(journal) == "strange"
    assert restore(journal) is not None
    assert note(journal) is None
