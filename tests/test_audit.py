"""The audit log: every line once, in a chain, whatever ends the process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.audit import AuditDamaged, AuditLog, difference, entries, missing
from appliance.journal import AUDIT_UPTO, Journal
from appliance.state_disk import StateDisk


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def follow(path: Path, journal: Journal) -> None:
    with closing(AuditLog(path, StateDisk())) as log:
        log.follow(journal)


def events(path: Path) -> list[Any]:
    return [entry["event"] for entry in entries(path)]


def test_what_the_journal_noted_is_in_the_log_once_and_in_order(path: Path, journal: Journal) -> None:
    for n in range(1200):
        journal.note_audit(f"event {n}")
    follow(path, journal)
    journal.note_audit("last", who="A. Reader")
    follow(path, journal)
    follow(path, journal)
    assert events(path) == [*(f"event {n}" for n in range(1200)), "last"]
    assert journal.audit_waiting() == []


def test_a_crash_between_the_log_and_the_journal_repeats_no_line(path: Path, journal: Journal) -> None:
    journal.note_audit("first")
    waiting = journal.audit_waiting()
    follow(path, journal)
    # The journal did not get to know that the line was written.
    journal._write(lambda db: db.execute("INSERT INTO audit VALUES (?, ?)", waiting[0]))
    journal.note_audit("second")
    follow(path, journal)
    assert events(path) == ["first", "second"]


def test_a_line_that_was_cut_off_is_written_over(path: Path, journal: Journal) -> None:
    journal.note_audit("first")
    follow(path, journal)
    with path.open("ab") as file:
        file.write(b'{"n":2,"event":"hal')
    assert events(path) == ["first"]
    journal.note_audit("second")
    follow(path, journal)
    assert events(path) == ["first", "second"]
    assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("damage", ["changed", "taken out", "taken out at the start", "put in", "no line"])
def test_a_line_that_was_touched_is_found_out(damage: str, path: Path, journal: Journal) -> None:
    for n in range(3):
        journal.note_audit(f"event {n}")
    follow(path, journal)
    lines = path.read_bytes().splitlines(keepends=True)
    match damage:
        case "changed":
            lines[0] = lines[0].replace(b"event 0", b"event 7")
        case "taken out":
            del lines[1]
        case "taken out at the start":
            del lines[0]
        case "put in":
            lines.insert(1, lines[1])
        case _:
            lines[1] = b"[]\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(AuditDamaged, match=r"Line [123] of .*audit\.log"):
        events(path)


def test_lines_that_vanish_at_the_end_are_missed(path: Path, journal: Journal) -> None:
    for n in range(3):
        journal.note_audit(f"event {n}")
    follow(path, journal)
    assert missing(3, journal.meta(AUDIT_UPTO)) is None
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with closing(AuditLog(path, StateDisk())) as log:
        said = missing(log.last, journal.meta(AUDIT_UPTO))
    assert said is not None
    assert "ends with line 1, and line 3 was written" in said


def test_a_journal_that_was_made_again_goes_on_with_the_numbers(path: Path, tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "old.db")) as old:
        for n in range(5):
            old.note_audit(f"event {n}")
        follow(path, old)
    with closing(Journal(tmp_path / "new.db")) as new, closing(AuditLog(path, StateDisk())) as log:
        new.number_audit_after(log.last)
        new.note_audit("journal_rebuilt")
        log.follow(new)
    assert events(path)[-1] == "journal_rebuilt"
    assert [json.loads(line)["n"] for line in path.read_bytes().splitlines()] == [1, 2, 3, 4, 5, 6]


def test_of_a_change_only_what_changed_is_noted() -> None:
    assert difference('{"a": 1, "b": 2}', '{"a": 1, "b": 3, "c": 4}') == {"b": [2, 3], "c": [None, 4]}
    assert difference("one model", "another") == {"value": ["one model", "another"]}
