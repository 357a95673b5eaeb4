"""The replay: other UIDs and nothing else, an account that notices what is missing, slopes that grow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from command import scanlight
from pydicom.uid import UID

from appliance.findings.record import SeriesRecord
from appliance.journal import Event, Journal
from appliance.reasons import Outcome, Reason
from tools.own_daemon import NewResults
from tools.replay.journal_size import table_sizes
from tools.replay.ledger import Exported, Ledger
from tools.replay.restamp import NAMES, NotRestamped, Original, fresh_uid
from tools.replay.scanners import Worklist
from tools.replay.studies import from_folder
from tools.replay.vitals import Vitals, growth
from tools.scanner import export

SmallChest = Callable[[str], list[Path]]


def test_a_file_gets_other_uids_and_stays_the_same_otherwise(small_chest: SmallChest, tmp_path: Path) -> None:
    before, after = (
        pydicom.dcmread(path)
        for path in (small_chest("covid")[0], stamped(small_chest("covid")[0], tmp_path / "1", "x"))
    )
    for name in NAMES:
        assert after[name].value != before[name].value
        assert UID(after[name].value).is_valid
        after[name].value = before[name].value
    assert after.file_meta.MediaStorageSOPInstanceUID != before.file_meta.MediaStorageSOPInstanceUID
    after.file_meta.MediaStorageSOPInstanceUID = before.file_meta.MediaStorageSOPInstanceUID
    assert after == before
    assert after.file_meta == before.file_meta


def test_one_salt_keeps_a_series_together_and_another_one_parts_it(
    small_chest: SmallChest, tmp_path: Path
) -> None:
    one, two = small_chest("covid")[:2]
    a, b, c = (
        pydicom.dcmread(stamped(file, tmp_path / name, salt))
        for file, name, salt in ((one, "a", "x"), (two, "b", "x"), (one, "c", "y"))
    )
    assert (a.StudyInstanceUID, a.SeriesInstanceUID) == (b.StudyInstanceUID, b.SeriesInstanceUID)
    for name in NAMES:
        assert a[name].value != c[name].value
    assert a.SOPInstanceUID != b.SOPInstanceUID


def test_a_uid_that_is_the_beginning_of_another_is_not_mistaken(
    small_chest: SmallChest, tmp_path: Path
) -> None:
    dataset = pydicom.dcmread(small_chest("clear")[0])
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.1"
    dataset.SeriesInstanceUID = dataset.StudyInstanceUID + ".1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SeriesInstanceUID + ".1"
    dataset.save_as(tmp_path / "nested.dcm")
    new = pydicom.dcmread(stamped(tmp_path / "nested.dcm", tmp_path / "new.dcm", "x"))
    for name in NAMES:
        assert new[name].value == fresh_uid(dataset[name].value.encode(), "x").decode()
    assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID


def stamped(path: Path, target: Path, salt: str) -> Path:
    target.write_bytes(Original.of(path).stamped(lambda uid: fresh_uid(uid, salt)))
    return target


@pytest.mark.parametrize("length", range(20, 65))
def test_a_fresh_uid_is_valid_and_as_long_as_the_old_one(length: int) -> None:
    old = ("1.2.840." + "7" * 60)[:length].encode()
    new = fresh_uid(old, "salt").decode()
    assert len(new) == length
    assert UID(new).is_valid
    assert all(len(part) <= 39 for part in new.split("."))
    assert new == fresh_uid(old, "salt").decode()


def test_what_cannot_have_other_uids_says_why(small_chest: SmallChest, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(small_chest("clear")[0])
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    dataset.save_as(tmp_path / "deflated.dcm")
    dataset = pydicom.dcmread(small_chest("clear")[0])
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.save_as(tmp_path / "short.dcm")
    (tmp_path / "notes.txt").write_text("not DICOM")
    for name, why in (
        ("deflated.dcm", "deflated"),
        ("short.dcm", "20 characters"),
        ("notes.txt", "no DICOM"),
    ):
        with pytest.raises(NotRestamped, match=rf"{re.escape(name)} .*{why}.*: leave it out\."):
            Original.of(tmp_path / name)
    assert from_folder(tmp_path) == []


def test_a_scanner_writes_its_files_whole_in_their_order(tmp_path: Path) -> None:
    contents = [bytes([number]) * size for number, size in enumerate((10, 200_000, 1 << 16))]
    assert [path.read_bytes() for path in export(contents, tmp_path / "series", None)] == contents
    assert sorted(path.name for path in (tmp_path / "series").iterdir()) == [
        "CT00001.dcm",
        "CT00002.dcm",
        "CT00003.dcm",
    ]


# The account


def exported(study: int, uid: str, original: str = "chest") -> Exported:
    return Exported(study, uid, original, files=10, last_file_at=100.0)


def finding(uid: str, **changes: object) -> SeriesRecord:
    values = {"outcome": Outcome.FLAGGED, "probability": 0.75, "revision": 1, **changes}
    return SeriesRecord(series_uid=uid, **values)  # type: ignore[arg-type]


def test_a_study_is_told_of_when_all_its_series_are() -> None:
    ledger = Ledger()
    ledger.told(finding("a"), at=101.5)
    ledger.exported([exported(1, "a"), exported(1, "b", "localizer")])
    assert ledger.waits_for(1)
    assert (ledger.studies, ledger.told_studies, ledger.untold()) == (1, 0, 1)
    ledger.told(finding("b", outcome=Outcome.SKIPPED, reason=Reason.LOCALIZER), at=105)
    assert not ledger.waits_for(1)
    assert (ledger.studies, ledger.told_studies, ledger.untold()) == (1, 1, 0)
    assert ledger.outcomes() == {"flagged": 1, "skipped: localizer": 1}
    assert ledger.last_slice_to_flag_s() == [1.5]
    assert ledger.files == 20


def test_what_nobody_exported_is_foreign() -> None:
    ledger = Ledger()
    ledger.exported([exported(1, "a")])
    ledger.told(finding("a"), at=101)
    ledger.told(finding("b"), at=101)
    assert (ledger.untold(), ledger.foreign()) == (0, 1)


def test_the_newest_revision_counts_and_is_counted() -> None:
    ledger = Ledger()
    ledger.exported([exported(1, "a")])
    ledger.told(finding("a", outcome=Outcome.NOT_ANALYSED, reason=Reason.INCOMPLETE_LUNG), at=101)
    ledger.told(finding("a", revision=2), at=103)
    assert (ledger.outcomes(), ledger.revised, ledger.told_studies) == ({"flagged": 1}, 1, 1)
    assert ledger.last_slice_to_flag_s() == [3.0]


@pytest.mark.parametrize(
    "change", [{"probability": 0.75 + 2**-53}, {"heatmap": "other.npz"}, {"outcome": Outcome.NOT_FLAGGED}]
)
def test_repeats_that_differ_in_the_last_bit_are_named(change: dict[str, object]) -> None:
    ledger = Ledger()
    for study, uid in enumerate("abc", 1):
        ledger.exported([exported(study, uid)])
        ledger.told(finding(uid), at=101)
    assert (ledger.repeats(), ledger.differing()) == (2, [])
    ledger.exported([exported(4, "d"), exported(4, "e", "localizer")])
    ledger.told(finding("d", **change), at=101)
    ledger.told(finding("e"), at=101)
    assert (ledger.repeats(), ledger.differing()) == (3, ["chest"])


def test_a_results_folder_is_read_once(tmp_path: Path) -> None:
    results = NewResults(tmp_path)
    (tmp_path / "a.r1.json").write_text(finding("a").to_json())
    (tmp_path / ".b.r1.json.part").write_text("half a rec")
    assert [record.series_uid for record, _ in results()] == ["a"]
    assert results() == []
    (tmp_path / "a.r2.json").write_text(finding("a", revision=2).to_json())
    ((record, at),) = results()
    assert record.revision == 2
    assert at == (tmp_path / "a.r2.json").stat().st_mtime


# The worklist


def test_the_worklist_ends_with_its_last_study() -> None:
    worklist = Worklist(total=2, ends_at=None, room=None)
    assert [worklist.next() for _ in range(3)] == [1, 2, None]


def test_the_worklist_ends_with_the_day() -> None:
    worklist = Worklist(total=None, ends_at=time.monotonic() - 1, room=None)
    assert worklist.next() is None


def test_a_scanner_waits_until_there_is_room_or_the_day_is_over() -> None:
    worklist = Worklist(total=None, ends_at=None, room=1)
    assert worklist.next() == 1
    taken: list[int | None] = []
    scanner = threading.Thread(target=lambda: taken.extend(iter(worklist.next, None)), daemon=True)
    scanner.start()
    scanner.join(0.2)
    assert taken == []
    worklist.told(1)
    scanner.join(0.2)
    assert taken == [2]
    worklist.stop()
    scanner.join(10)
    assert not scanner.is_alive()


def test_scanners_rest_until_everything_is_told_of() -> None:
    worklist = Worklist(total=None, ends_at=None, room=None, rest_every=3)
    assert [worklist.next() for _ in range(3)] == [1, 2, 3]
    taken: list[int | None] = []
    scanner = threading.Thread(target=lambda: taken.append(worklist.next()), daemon=True)
    scanner.start()
    worklist.told(2)
    scanner.join(0.2)
    assert taken == []
    worklist.told(3)
    scanner.join(10)
    assert taken == [4]


# What grows


def vitals(memory_kb: float = 1000, descriptors: int = 30) -> Vitals:
    return Vitals(int(memory_kb), 500, descriptors, 12, 3, 100)


def test_the_slope_sees_what_grows_behind_peaks_and_after_warming_up() -> None:
    samples = [
        (study, vitals(1000 + (40 * study if study < 20 else 800 + 3 * study) + 5000 * (study % 7 == 0)))
        for study in range(1, 101)
    ]
    found = growth(samples)
    assert found["memory_kb"].per_100_studies == pytest.approx(300)
    assert found["memory_kb"].in_all == pytest.approx(3 * 80)
    assert found["descriptors"].per_100_studies == 0
    assert found["memory_kb"].last - found["memory_kb"].first == pytest.approx(3 * 72, abs=15)


def test_a_descriptor_lost_with_every_tenth_study_shows() -> None:
    samples = [(study, vitals(descriptors=30 + study // 10)) for study in range(1, 101)]
    assert growth(samples)["descriptors"].per_100_studies == pytest.approx(10, abs=1)


def test_a_few_studies_have_no_slope() -> None:
    assert growth([]) == {}
    assert growth([(study, vitals()) for study in (10, 20, 30, 40)]) == {}


def test_vitals_are_those_of_the_process_and_of_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(bytes(10 << 10))
    (tmp_path / "journal.db-wal").write_bytes(bytes(5 << 10))
    nested = "import subprocess as s, sys; s.run([sys.executable, '-c', 'input()'])"
    busy = (
        "import subprocess, sys, threading\n"
        "files = [open('/dev/null') for _ in range(20)]\n"
        "for _ in range(3): threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "hoard = b'x' * (64 << 20)\n"
        f"child = subprocess.Popen([sys.executable, '-c', {nested!r}])\n"
        "print('ready', flush=True); input(); child.communicate()\n"
    )
    idle = "print('ready', flush=True); input()"
    found = []
    for code in (idle, busy):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            process.stdout.readline()
            end = time.monotonic() + 20
            while (now := Vitals.of(process.pid, tmp_path / "journal.db")).processes < 2 * len(found):
                assert time.monotonic() < end
            found.append(now)
            process.stdin.write("\n\n")
    alone, with_all = found
    assert (alone.threads, alone.processes, alone.worker_memory_kb) == (1, 0, 0)
    assert (with_all.threads, with_all.processes) == (4, 2)
    assert with_all.descriptors == alone.descriptors + 20
    assert 60 << 10 < with_all.memory_kb - alone.memory_kb < 90 << 10
    assert with_all.worker_memory_kb > 2000
    assert with_all.journal_kb == 15


def test_the_tables_of_a_journal_make_up_its_size(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.add_files([], [Event("files", "slice", value=number) for number in range(5000)])
    journal.close()
    sizes = {one.table: one for one in table_sizes(tmp_path / "journal.db")}
    assert sizes["event"].rows == 5000
    assert sizes["event"].bytes > 40 * 5000
    assert next(iter(sizes)) == "event"
    page = 4096
    whole = (tmp_path / "journal.db").stat().st_size
    # The schema has a few pages of its own, and belongs to no table.
    assert whole - 4 * page <= sum(one.bytes for one in sizes.values()) < whole


# The command


def test_a_folder_of_somebody_elses_daemon_is_filled_and_kept_small(
    small_chest: SmallChest, tmp_path: Path
) -> None:
    (tmp_path / "into").mkdir()
    source = small_chest("clear")[0].parent
    done = scanlight(
        *("replay", "--source", source, "--into", tmp_path / "into", "--studies", "5", "--keep", "2"),
        *("--scanners", "2", "--studies-per-hour", "3600", "--speed", "50", "--json"),
    )
    told = json.loads(done.stdout)
    assert (told["studies"], told["series"], told["conservation_error"], told["daemon"]) == (5, 5, None, None)
    assert told["files"] == 5 * len(small_chest("clear"))
    left = sorted(path.parent for path in (tmp_path / "into").rglob("CT00001.dcm"))
    assert len(left) == 2
    assert all(len(list(folder.iterdir())) == len(small_chest("clear")) for folder in left)
    uids = {str(pydicom.dcmread(folder / "CT00001.dcm").SeriesInstanceUID) for folder in left}
    assert len(uids) == 2
    assert done.returncode == 0


def test_a_source_without_dicom_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    done = scanlight("replay", "--source", tmp_path)
    assert done.returncode == 1
    assert re.search(r"No DICOM series was found in .*: name a folder that\s+holds some\.", done.stdout)
    assert "Traceback" not in done.stderr


def test_results_without_their_export_folder_are_refused(tmp_path: Path) -> None:
    done = scanlight("replay", "--results", tmp_path)
    assert done.returncode == 2
    assert "needs --into" in done.stderr
