"""A journal is damaged, and one command makes a new one: nothing is told twice, nothing old becomes new."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pydicom
import pytest
from command import scanlight
from harness import Appliance, uid_of

from appliance.journal import Journal, Mark

SmallChest = Callable[[str], list[Path]]


def damage(appliance: Appliance) -> None:
    journal = appliance.state / "journal.db"
    content = bytearray(journal.read_bytes())
    content[1024:] = b"\xff" * (len(content) - 1024)
    journal.write_bytes(content)
    for end in ("-wal", "-shm"):
        journal.with_name(journal.name + end).unlink(missing_ok=True)


def listed(appliance: Appliance) -> dict[str, str | None]:
    lines = appliance.cli("list", "--json").stdout.splitlines()
    return {one["series_uid"] or one["path"]: one["outcome"] for one in map(json.loads, lines)}


def revisions(appliance: Appliance) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in appliance.results.iterdir()}


def renamed(files: list[Path], folder: Path) -> list[Path]:
    """The same chest as another series."""
    folder.mkdir()
    uid = pydicom.uid.generate_uid()
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID = dataset.StudyInstanceUID = uid
        dataset.save_as(folder / file.name)
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_a_damaged_journal_is_refused_kept_aside_and_rebuilt(tmp_path: Path, small_chest: SmallChest) -> None:
    appliance = Appliance(tmp_path)
    old, while_down = (
        renamed(small_chest("clear"), tmp_path / "1"),
        renamed(small_chest("cap"), tmp_path / "2"),
    )
    appliance.copy(old, "old")
    long_ago = time.time() - 3 * 86400
    for path in (appliance.export_folder / "old").iterdir():
        os.utime(path, (long_ago, long_ago))
    late = renamed(small_chest("clear"), tmp_path / "3")
    with appliance:
        appliance.copy(small_chest("covid"), "covid")
        appliance.copy(late[:-2], "late")
        (appliance.export_folder / "broken.dcm").write_text("no DICOM")
        (appliance.export_folder / "note.txt").write_text("hello")
        appliance.wait_for_findings(3)
        appliance.wait("the old one is named", lambda: len(listed(appliance)) == 4)
        before, known = revisions(appliance), listed(appliance)
        assert scanlight("rebuild", "--config", appliance.config).returncode == 2, "a daemon runs"
    assert scanlight("rebuild", "--config", appliance.config).returncode == 1, "nothing is wrong with it"

    for path in (appliance.export_folder / "old").iterdir():
        path.chmod(0o640)
    damage(appliance)
    refused = scanlight("run", "--config", appliance.config)
    assert (refused.returncode, "is damaged: run scanlight rebuild" in refused.stderr) == (2, True)
    appliance.copy(while_down, "new")
    for path in (appliance.export_folder / "new").iterdir():
        os.utime(path, (long_ago, long_ago))
    appliance.copy(late[-2:], "late")
    done = scanlight("rebuild", "--config", appliance.config)
    assert done.returncode == 0, done.stderr
    assert "4 series with 4 revisions" in done.stdout.replace("\n", " ")
    assert len(list(appliance.state.glob("journal.damaged-*.db"))) == 1

    with appliance:
        appliance.wait("the rest was read", lambda: len(appliance.findings()) == 5)
        appliance.wait("the old one is named again", lambda: len(listed(appliance)) == 5)
        time.sleep(2)
        assert len(appliance.findings()) == 5
        after = revisions(appliance)
        assert {name: after[name] for name in before} == before
        new = {name for name in after if name not in before}
        assert new == {f"{uid_of(while_down[0])}.r1.json", f"{uid_of(late[0])}.r2.json"}
        states = listed(appliance)
        assert {uid: states[uid] for uid in known if uid != uid_of(late[0])} == {
            uid: outcome for uid, outcome in known.items() if uid != uid_of(late[0])
        }
        assert states[uid_of(old[0])] == "skipped"
        assert appliance.status()["counts"]["suspect"] == 1
        assert (
            'deliveries_total{destination="results_folder",result="failed"} 0.0'
            in httpx.get(f"{appliance.url}/metrics").text
        )


@pytest.mark.slow
def test_what_was_acknowledged_stays_so_when_the_journal_is_made_again(
    tmp_path: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path)
    with appliance:
        appliance.copy(small_chest("covid"), "study")
        appliance.wait_for_findings(1)
    with closing(Journal(appliance.state / "journal.db")) as journal:
        assert journal.mark(1, Mark.ACKNOWLEDGED, "A. Reader") == 1
    with appliance:
        assert appliance.status()["counts"]["suspect"] == 0
    (appliance.state / "journal.db").unlink()
    assert scanlight("rebuild", "--config", appliance.config).returncode == 0
    with appliance:
        assert appliance.status()["counts"]["suspect"] == 0
    told = scanlight("audit", "--config", appliance.config)
    assert told.returncode == 0
    told_of = [line.split()[1] for line in told.stdout.splitlines()]
    assert told_of.index("acknowledged") < told_of.index("journal_rebuilt")
    assert "name=A. Reader" in told.stdout
    with closing(Journal(appliance.state / "journal.db")) as journal:
        assert journal.mark(1, Mark.TAKEN_BACK, "A. Reader") == 1
    with appliance:
        assert appliance.status()["counts"]["suspect"] == 1
    log = appliance.state / "audit.log"
    whole = log.read_bytes()
    log.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    told = scanlight("audit", "--config", appliance.config)
    assert (told.returncode, "what came after was taken out" in told.stderr) == (1, True)
    log.write_bytes(whole)
    log.write_bytes(log.read_bytes().replace(b"A. Reader", b"B. Reader", 1))
    told = scanlight("audit", "--config", appliance.config)
    assert (told.returncode, "does not follow from the one before" in told.stderr) == (1, True)


@pytest.mark.slow
def test_a_journal_that_is_gone_is_no_fresh_start(tmp_path: Path, small_chest: SmallChest) -> None:
    appliance = Appliance(tmp_path)
    with appliance:
        appliance.copy(small_chest("covid"), "study")
        appliance.wait_for_findings(1)
    before = revisions(appliance)
    (appliance.state / "journal.db").unlink()
    refused = scanlight("run", "--config", appliance.config)
    assert (refused.returncode, "run scanlight rebuild" in refused.stderr) == (2, True)

    # Somebody may have fetched the results, or lost more than the journal.
    (result,) = appliance.results.iterdir()
    shutil.move(result, tmp_path / "aside")
    assert scanlight("run", "--config", appliance.config).returncode == 2
    shutil.move(appliance.state / "audit.log", tmp_path / "audit.log")
    assert scanlight("run", "--config", appliance.config).returncode == 2
    shutil.move(tmp_path / "audit.log", appliance.state / "audit.log")

    # What was recorded and not delivered is delivered now.
    assert scanlight("rebuild", "--config", appliance.config).returncode == 0
    with appliance:
        appliance.wait_for_findings(1)
    assert revisions(appliance) == before


@pytest.mark.slow
def test_an_export_folder_that_is_not_there_is_no_ground_to_rebuild_on(
    tmp_path: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path)
    with appliance:
        appliance.copy(small_chest("covid"), "study")
        appliance.wait_for_findings(1)
    before = revisions(appliance)
    damage(appliance)
    export = appliance.export_folder
    export.rename(export.with_name("share"))
    export.mkdir()
    refused = scanlight("rebuild", "--config", appliance.config)
    assert refused.returncode == 2, refused.stderr
    assert "mount it, or say with --accept-folder" in refused.stderr
    export.rmdir()
    export.with_name("share").rename(export)
    assert scanlight("rebuild", "--config", appliance.config).returncode == 0
    assert revisions(appliance) == before
