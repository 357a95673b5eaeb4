"""Every bad input of `docs/inputs.md`, all at once among good series, and once more without a daemon."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import bad_inputs
import httpx
import pytest
from daemon.harness import Appliance

from appliance.light import FAULTS
from engines.bundle import embedded_model
from tools.phantom import Chest, make_chest, write_series

DOCS = Path(__file__).resolve().parents[2] / "docs/inputs.md"
GOOD = ("good_first", "good_between", "good_last")
SLICES = 58
CEILING_S = 3.0

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")

PERMISSIONS = {"unreadable_file", "unreadable_folder"}
"""Inputs that are none to root."""

OTHERWISE_OFFLINE = {
    "symlink",  # `read` follows links
    "fifo",  # and passes over these two
    "device",
    "unreadable_folder",  # has a record of its own there
    "deflate_bomb",  # fits the larger workers
}

Record = dict[str, Any]


class Row(NamedTuple):
    """What becomes of an input: `read`, `fault`, or an outcome with its reason."""

    becomes: str
    reason: str | None
    sentence: str


def rows() -> dict[str, Row]:
    pattern = r"^\| [^|`]+ \| `(\w+)` \| ([a-z ]+)(?:: `(\w+)`)? \| ([^|]+) \|$"
    return {
        name: Row(becomes, reason or None, sentence)
        for name, becomes, reason, sentence in re.findall(pattern, DOCS.read_text(), re.M)
    }


ROWS = rows()
RECORDED = {name for name, row in ROWS.items() if row.becomes != "fault"}


def mine(records: Sequence[Record], name: str) -> list[Record]:
    """The records of a bad input; paths are relative to the export folder."""
    uid = "../../../../escaped" if name == "path_traversal_in_uids" else bad_inputs.series_uid(name)
    return [one for one in records if one["series_uid"] == uid or (one["path"] or "").startswith(f"{name}/")]


def bound_by_permissions() -> list[str]:
    """What a command of root's begins with so that the modes of files hold for it."""
    powers = "-dac_override,-dac_read_search"
    return ["setpriv", f"--inh-caps={powers}", f"--bounding-set={powers}"] if os.geteuid() == 0 else []


def impossible() -> dict[str, str]:
    """The inputs that cannot be made here, and why."""
    needs = {}
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        needs |= dict.fromkeys(PERMISSIONS, "needs setpriv: apt-get install util-linux")
    if os.geteuid() != 0:
        needs["device"] = "needs root, to make a device"
    return needs


@dataclass(frozen=True)
class Crowd:
    """What was seen of a daemon with all bad inputs, and what `scanlight status` and `read` said of them."""

    records: list[Record]
    status: Record
    told: str
    metrics: str
    log: str
    offline: list[Record]
    root: Path
    missing: dict[str, str]

    def of(self, name: str, records: Sequence[Record]) -> list[Record]:
        if name in self.missing:
            pytest.skip(self.missing[name])
        return mine(records, name)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    root = tmp_path_factory.mktemp("crowd")
    phantom = make_chest(Chest(kind="covid", seed=3, slice_mm=5.0, matrix=64))
    files = write_series(phantom, root / "phantom")
    assert len(files) == SLICES
    missing = impossible()
    names = [name for name in bad_inputs.BUILDERS if name not in missing]
    pace = {"floor_s": 0.6, "ceiling_s": CEILING_S}
    appliance = Appliance(root, tries=2, worker_memory_mb=256, worker_timeout_s=30, completeness=pace)
    export = appliance.export_folder
    if not PERMISSIONS & missing.keys():
        appliance.under = bound_by_permissions()
    try:
        with appliance:
            good(GOOD[0], files, export)
            steps = [bad_inputs.put(name, files, export) for name in names[::2]]
            good(GOOD[1], files, export)
            steps += [bad_inputs.put(name, files, export) for name in names[1::2]]
            good(GOOD[2], files, export)
            vanish(appliance, files)
            for going_on in filter(None, steps):
                for _ in going_on:
                    time.sleep(CEILING_S / 6)
            appliance.wait("all have ended", lambda: ended(appliance, RECORDED - missing.keys()), 120)
            status, metrics = appliance.status(), httpx.get(f"{appliance.url}/metrics").text
            told = appliance.cli("status").stdout
            records = appliance.findings()
            assert appliance.stop() == 0
        yield Crowd(
            records,
            status,
            told,
            metrics,
            appliance.log.read_text(),
            read_offline(export, appliance.under),
            root,
            missing,
        )
    finally:
        for path in export.glob("*/*"):
            if not path.is_symlink():
                path.chmod(0o700)


def good(name: str, files: Sequence[Path], export: Path) -> None:
    (export.parent / name).mkdir()
    bad_inputs.save(bad_inputs.chest(name, files), export.parent / name)
    (export.parent / name).rename(export / name)


def ended(appliance: Appliance, names: set[str]) -> bool:
    records = appliance.findings()
    return not appliance.status()["in_progress"] and all(mine(records, name) for name in names | set(GOOD))


def descendants(appliance: Appliance) -> set[int]:
    assert appliance.process is not None
    found = {appliance.process.pid}
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {appliance.process.pid}


def vanish(appliance: Appliance, files: Sequence[Path]) -> None:
    """Let the daemon see a file and take it away while its workers stand still."""
    queued = re.compile(r'^scanlight_queue_depth\{stage="parse"\} 0', re.M)
    appliance.wait("all is parsed", lambda: bool(queued.search(httpx.get(f"{appliance.url}/metrics").text)))
    workers = descendants(appliance)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    slices = bad_inputs.chest("vanishing_file", files)[bad_inputs.MIDDLE :][:1]
    (path,) = bad_inputs.save(slices, appliance.export_folder / "vanishing_file", bad_inputs.MIDDLE + 1)
    appliance.wait("it is seen", lambda: not queued.search(httpx.get(f"{appliance.url}/metrics").text))
    path.unlink()
    for worker in workers:
        os.kill(worker, signal.SIGCONT)


def read_offline(export: Path, under: Sequence[str]) -> list[Record]:
    model = embedded_model("densitometry")
    command = [*under, sys.executable, "-m", "appliance", "read", "--json", "--model", model, export]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 3, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    for one in records:
        if one["path"] is not None:
            one["path"] = os.path.relpath(one["path"], export)
    return records


def says(records: Sequence[Record]) -> list[Row]:
    return [
        Row(
            (record["outcome"] if record["reason"] else "read").replace("_", " "),
            record["reason"],
            record["detail"] or "–",
        )
        for record in records
    ]


def test_every_row_has_its_input_and_every_input_its_row() -> None:
    assert list(ROWS) == list(bad_inputs.BUILDERS)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_the_daemon_ends_it_once_with_its_reason_and_sentence(name: str, crowd: Crowd) -> None:
    files = 4 if name == "symlink" else 1
    assert says(crowd.of(name, crowd.records)) == [ROWS[name]] * files


@pytest.mark.parametrize("name", sorted(RECORDED - OTHERWISE_OFFLINE))
def test_read_says_the_same(name: str, crowd: Crowd) -> None:
    assert says(crowd.of(name, crowd.offline)) == [ROWS[name]]


def test_links_lead_the_daemon_nowhere_and_read_to_what_they_name(crowd: Crowd) -> None:
    assert {Path(one["path"]).name for one in mine(crowd.records, "symlink")} == {
        "IM0001.dcm",
        "circle",
        "dangling.dcm",
        "study",
    }
    assert 'scanlight_files_total{kind="other"} 0.0' in crowd.metrics, "nothing was even opened"
    aim = bad_inputs.series_uid_in(crowd.root / "phantom")
    assert aim not in {one["series_uid"] for one in crowd.records}
    assert aim in {one["series_uid"] for one in crowd.offline}


def test_an_unreadable_folder_is_a_fault_of_its_own(crowd: Crowd) -> None:
    assert crowd.of("unreadable_folder", crowd.records) == []
    assert (crowd.status["state"], crowd.status["why"]) == ("fault", ["folder_unreadable"])
    assert ROWS["unreadable_folder"].sentence == FAULTS["folder_unreadable"]
    assert re.search(r"it cannot be opened: /.*/unreadable_folder", crowd.told), "who may look is told"
    assert "closed_folders" not in crowd.status["facts"], "the page is not"
    assert says(crowd.of("unreadable_folder", crowd.offline)) == [
        Row("failed", "unreadable", "The folder cannot be opened: check its permissions.")
    ]


@pytest.mark.parametrize("name", GOOD)
def test_good_series_are_read_whole(name: str, crowd: Crowd) -> None:
    for records in (crowd.records, crowd.offline):
        (record,) = mine(records, name)
        assert (record["outcome"], record["slices"], record["revision"]) == ("flagged", SLICES, 1)


@pytest.mark.parametrize("name", sorted(name for name in RECORDED if ROWS[name].becomes == "read"))
def test_what_is_no_fault_is_read_as_a_good_series(name: str, crowd: Crowd) -> None:
    (record,), (plain,) = mine(crowd.records, name), mine(crowd.records, GOOD[0])
    assert record["slices"] == SLICES
    assert record["probability"] == pytest.approx(plain["probability"], abs=0.01)


def test_of_an_instance_that_comes_again_the_latest_counts(crowd: Crowd) -> None:
    for records in (crowd.records, crowd.offline):
        (corrected,), (copied,) = mine(records, "corrected_file"), mine(records, "copied_file")
        assert corrected["hu_mean"] != copied["hu_mean"] == mine(records, GOOD[0])[0]["hu_mean"]


def test_nothing_is_recorded_but_what_was_put_in(crowd: Crowd) -> None:
    expected = RECORDED - crowd.missing.keys() | set(GOOD)
    assert len(crowd.records) == len(expected) + 3, "there are four links"
    offline = expected - {"symlink", "fifo", "device"}
    assert len(crowd.offline) == len(offline) + 2, "and the links' aim and the folder"
    assert "scanlight_series_conservation_error 0.0" in crowd.metrics


def test_a_uid_that_is_a_path_leads_nowhere(crowd: Crowd) -> None:
    assert not list(crowd.root.rglob("*escaped*"))
    names = {path.name for path in (crowd.root / "state/results").iterdir()}
    assert all(re.fullmatch(r"(2\.25\.[\d.]+|x-[0-9a-f]{16})\.r1\.json", name) for name in names)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_sentence_says_what_is_wrong_and_what_to_do_and_names_no_patient(name: str) -> None:
    sentence = ROWS[name].sentence
    if ROWS[name].becomes != "read":
        assert re.fullmatch(r"[A-Z0-9].{10,}: [a-z].{10,}\.", sentence)
    for patient in ("PHANTOM", "ANOTHER", "Müller", "Jörg"):
        assert patient not in sentence


def test_the_log_names_no_file_and_no_patient(crowd: Crowd) -> None:
    for line in crowd.log.splitlines():
        assert {"at", "level", "event"} <= json.loads(line).keys()
    for word in ("PHANTOM", "ANOTHER", "fcller", "IM00", "report.dcm", *(f"{name}/" for name in ROWS)):
        assert word not in crowd.log
