"""The daemon as its users have it: a scanner writes files, findings come out."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from command import scanlight
from harness import Appliance, uid_of

from engines.bundle import embedded_model

SmallChest = Callable[[str], list[Path]]


@pytest.fixture
def runner() -> str:
    """What is to read."""
    return "onnxruntime"


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    return Appliance(tmp_path)


def test_slices_one_by_one_become_a_flag(appliance: Appliance, small_chest: SmallChest, runner: str) -> None:
    files = small_chest("covid")
    with appliance:
        assert appliance.status()["state"] == "ready"
        appliance.copy(files, "study", pause_s=0.02)
        (record,) = appliance.wait_for_findings(1)
        assert record["outcome"] == "flagged"
        assert record["probability"] >= record["operating_point"]
        assert record["completed_by"] == "quiet"
        assert record["slices"] == len(files)
        assert record["revision"] == 1
        assert record["supersedes"] is None
        assert "not CSAC-Net" in record["notice"]
        assert record["engine"]["runner"] == runner
        assert appliance.status()["facts"]["model"]["engine"]["runner"] == runner
        assert re.search(rf'scanlight_engine_info{{[^}}]*engine="{runner}"', metrics(appliance))
        assert set(record["timings_ms"]) == {"parse", "volume", "queue", "infer", "record"}
        appliance.wait("the light is suspect", lambda: appliance.status()["state"] == "suspect", 5)
        assert "scanlight_series_conservation_error 0.0" in metrics(appliance)
        heatmap = np.load(appliance.state / "objects" / record["heatmap"])
        assert heatmap["heatmap"].max() > 0
        assert appliance.stop() == 0


def test_list_read_and_results_folder_give_the_same_record(
    appliance: Appliance, small_chest: SmallChest
) -> None:
    files = small_chest("covid")
    with appliance:
        appliance.copy(files, "study")
        (record,) = appliance.wait_for_findings(1)
        listed = json.loads(appliance.cli("list", "--json").stdout)
        assert listed == record
        assert httpx.get(f"{appliance.url}/api/series").json() == [record]
        shown = json.loads(appliance.cli("show", record["series_uid"][-8:], "--json").stdout)
        assert shown == record
    model = embedded_model("densitometry")
    offline = json.loads(scanlight("read", "--json", "--model", model, files[0].parent).stdout)
    for key in (
        "outcome",
        "probability",
        "reading_key",
        "hu_mean",
        "size",
        "spacing_mm",
        "orientation",
        "model",
    ):
        assert offline[key] == record[key], key


def test_no_flag_is_not_told_before_the_ceiling(appliance: Appliance, small_chest: SmallChest) -> None:
    with appliance:
        appliance.copy(small_chest("clear"), "study")
        appliance.wait(
            "the reading is provisional",
            lambda: [one["stage"] for one in appliance.status()["in_progress"]] == ["provisional"],
        )
        assert appliance.status()["state"] == "reading"
        assert appliance.findings() == []
        (listed,) = httpx.get(f"{appliance.url}/api/series").json()
        assert (listed["in_flight"], listed["provisional"], listed["outcome"]) == (True, True, None)
        assert json.loads(appliance.cli("list", "--json").stdout) == listed
        (record,) = appliance.wait_for_findings(1)
        assert record["outcome"] == "not_flagged"
        assert not record["provisional"]
        appliance.wait("ready again", lambda: appliance.status()["state"] == "ready", 5)


def test_interleaved_series_are_kept_apart(appliance: Appliance, small_chest: SmallChest) -> None:
    pairs = zip(small_chest("covid"), small_chest("clear"), strict=False)
    with appliance:
        for one, two in pairs:
            appliance.copy([one], "covid")
            appliance.copy([two], "clear")
        rest = max(small_chest("covid"), small_chest("clear"), key=len)
        shorter = min(len(small_chest("covid")), len(small_chest("clear")))
        appliance.copy(rest[shorter:], "covid" if rest is small_chest("covid") else "clear")
        by_series = {record["series_uid"]: record for record in appliance.wait_for_findings(2)}
    assert by_series[uid_of(small_chest("covid")[0])]["outcome"] == "flagged"
    assert by_series[uid_of(small_chest("clear")[0])]["outcome"] == "not_flagged"


def test_half_a_chest_is_not_analysed_and_the_late_half_makes_revision_2(
    appliance: Appliance, small_chest: SmallChest
) -> None:
    files = small_chest("clear")
    half = len(files) // 2
    with appliance:
        appliance.copy(files[:half], "study")
        (first,) = appliance.wait_for_findings(1)
        assert (first["outcome"], first["reason"]) == ("not_analysed", "incomplete_lung")
        assert appliance.status()["state"] == "not_analysed"
        appliance.copy(files[half:], "study")
        _, second = appliance.wait_for_findings(2)
    assert second["outcome"] == "not_flagged"
    assert (second["revision"], second["supersedes"]) == (2, first["reading_key"])
    assert second["slices"] == len(files)
    assert {path.name for path in appliance.results.iterdir()} == {
        f"{second['series_uid']}.r1.json",
        f"{second['series_uid']}.r2.json",
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_in_the_middle_loses_nothing(
    appliance: Appliance, small_chest: SmallChest, number: int
) -> None:
    files = small_chest("covid")
    half = len(files) // 2
    with appliance:
        appliance.copy(small_chest("clear"), "ended")
        appliance.wait_for_findings(1)
        appliance.copy(files[:half], "study")
        appliance.wait("half is in", lambda: bool(appliance.status()["in_progress"]))
        appliance.stop(number)
        appliance.copy(files[half:], "study")
        before = {path.name: path.stat().st_mtime_ns for path in appliance.results.iterdir()}
        appliance.start()
        _, record = appliance.wait_for_findings(2)
        time.sleep(3)
        assert len(appliance.findings()) == 2
    assert (record["outcome"], record["revision"], record["slices"]) == ("flagged", 1, len(files))
    for name, mtime in before.items():
        assert (appliance.results / name).stat().st_mtime_ns == mtime, "nothing is written twice"


def test_the_same_files_again_change_nothing(appliance: Appliance, small_chest: SmallChest) -> None:
    files = small_chest("covid")
    with appliance:
        appliance.copy(files, "study")
        appliance.wait_for_findings(1)
        appliance.copy(files, "again")
        appliance.wait(
            "the second copy was looked at",
            lambda: arrived(appliance) == 2 * len(files),
        )
        appliance.wait("all is settled", lambda: not appliance.status()["in_progress"])
        time.sleep(1)
        assert len(appliance.findings()) == 1


def metrics(appliance: Appliance) -> str:
    return httpx.get(f"{appliance.url}/metrics").text


def arrived(appliance: Appliance) -> float:
    """The slices and copies of slices that came, without those that Scanlight read once more by itself."""
    kinds = re.findall(r'scanlight_files_total\{kind="(?:slice|duplicate)"\} (.+)', metrics(appliance))
    assert len(kinds) == 2
    return sum(map(float, kinds))


def test_a_changed_instance_makes_a_new_revision(appliance: Appliance, small_chest: SmallChest) -> None:
    import pydicom

    files = small_chest("covid")
    with appliance:
        appliance.copy(files, "study")
        appliance.wait_for_findings(1)
        middle = appliance.export_folder / "study" / files[len(files) // 2].name
        changed = pydicom.dcmread(middle)
        pixels = changed.pixel_array.copy()
        pixels[:8, :8] += 1
        changed.PixelData = pixels.tobytes()
        temporary = middle.with_name("x.tmp")
        changed.save_as(temporary)
        temporary.replace(middle)
        first, second = appliance.wait_for_findings(2)
        shutil.copyfile(files[len(files) // 2], temporary)
        temporary.replace(middle)
        third = appliance.wait_for_findings(3)[-1]
        appliance.copy(files, "again")
        appliance.wait("the same once more is nothing", lambda: not appliance.status()["in_progress"])
        time.sleep(1)
        assert len(appliance.findings()) == 3
    assert (second["revision"], second["supersedes"]) == (2, first["reading_key"])
    assert second["slices"] == first["slices"]
    assert (third["revision"], third["supersedes"]) == (3, second["reading_key"])
    assert third["probability"] == first["probability"]


def test_a_flag_is_never_withdrawn_in_silence(appliance: Appliance, small_chest: SmallChest) -> None:
    import pydicom

    covid, clear = small_chest("covid"), small_chest("clear")
    with appliance:
        appliance.copy(covid, "study")
        appliance.wait_for_findings(1)
        for file, other in zip(covid, clear, strict=False):
            changed = pydicom.dcmread(file)
            changed.PixelData = pydicom.dcmread(other).PixelData
            temporary = appliance.export_folder / "study" / "x.tmp"
            changed.save_as(temporary)
            temporary.replace(appliance.export_folder / "study" / file.name)
        first, second = appliance.wait_for_findings(2)
        assert (first["outcome"], second["revision"]) == ("flagged", 2)
        assert second["outcome"] != "flagged"
        assert "stays suspect" in second["detail"]
        status = appliance.status()
        assert (status["state"], status["counts"]["suspect"]) == ("suspect", 1)
        assert 'scanlight_light_state{state="suspect"} 1.0' in metrics(appliance)


def test_odd_names_and_numbers_do_not_end_the_daemon(appliance: Appliance, small_chest: SmallChest) -> None:
    import os

    import pydicom

    with appliance:
        (appliance.export_folder / os.fsdecode(b"r\xe9sum\xe9.txt")).write_text("hello")
        (appliance.export_folder / os.fsdecode(b"M\xfcller-bad.dcm")).write_text("hello")
        (appliance.export_folder / "odd").mkdir()
        for number, file in enumerate(small_chest("clear")):
            dataset = pydicom.dcmread(file)
            dataset.RescaleIntercept = "1e308"
            dataset.save_as(appliance.export_folder / "odd" / os.fsdecode(b"M\xfcller-%d.dcm" % number))
        appliance.copy(small_chest("covid"), "study")
        records = appliance.wait_for_findings(3)
        assert sorted(str(record["reason"]) for record in records) == [
            "None",
            "missing_rescale",
            "unreadable",
        ]
        assert appliance.stop() == 0
        appliance.start()
        time.sleep(3)
        assert len(appliance.findings()) == 3


def test_a_sentinel_ends_the_wait(appliance: Appliance, small_chest: SmallChest) -> None:
    appliance.configure(completeness={"floor_s": 30, "ceiling_s": 60, "sentinel": {"glob": "*.done"}})
    with appliance:
        appliance.copy(small_chest("clear"), "study")
        (appliance.export_folder / "study" / "all.done").touch()
        (record,) = appliance.wait_for_findings(1, 25)
    assert (record["outcome"], record["completed_by"]) == ("not_flagged", "sentinel")


def test_old_files_are_left_alone_but_an_old_study_exported_today_is_read(
    appliance: Appliance, small_chest: SmallChest
) -> None:
    import os

    old, new = small_chest("clear"), small_chest("covid")
    appliance.copy(old, "old")
    long_ago = time.time() - 3 * 86400
    for path in (appliance.export_folder / "old").iterdir():
        os.utime(path, (long_ago, long_ago))
    with appliance:
        (appliance.export_folder / "new").mkdir()
        for file in new:
            target = appliance.export_folder / "new" / file.name
            shutil.copyfile(file, target.with_suffix(".part"))
            os.utime(target.with_suffix(".part"), (long_ago, long_ago))
            target.with_suffix(".part").rename(target)
        (record,) = appliance.wait_for_findings(1)
        assert (record["series_uid"], record["outcome"]) == (uid_of(new[0]), "flagged")

        def listed() -> list[dict[str, object]]:
            return [json.loads(line) for line in appliance.cli("list", "--json").stdout.splitlines()]

        appliance.wait("the old one is named", lambda: len(listed()) == 2, 20)
        reasons = {one["series_uid"]: one["reason"] for one in listed()}
    assert reasons == {uid_of(new[0]): None, uid_of(old[0]): "before_installation"}
    assert len(appliance.findings()) == 1


def test_what_is_no_series_is_counted_and_shown(appliance: Appliance, small_chest: SmallChest) -> None:
    with appliance:
        (appliance.export_folder / "notes.txt").write_text("not DICOM")
        (appliance.export_folder / "broken.dcm").write_text("not DICOM either")
        appliance.copy(small_chest("covid"), "study")
        records = appliance.wait_for_findings(2)
    bad = next(record for record in records if record["series_uid"] is None)
    assert (bad["path"], bad["outcome"], bad["reason"]) == ("broken.dcm", "failed", "unreadable")


def test_the_export_folder_may_be_read_only_and_is_never_changed(
    appliance: Appliance, small_chest: SmallChest
) -> None:
    appliance.copy(small_chest("covid"), "study")
    before = fingerprint(appliance.export_folder)
    for path in (appliance.export_folder / "study", appliance.export_folder):
        path.chmod(0o555)
    try:
        with appliance:
            assert appliance.wait_for_findings(1)[0]["outcome"] == "flagged"
    finally:
        for path in (appliance.export_folder, appliance.export_folder / "study"):
            path.chmod(0o755)
    assert fingerprint(appliance.export_folder) == before


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_two_daemons_do_not_share_a_state_folder(appliance: Appliance) -> None:
    with appliance:
        second = scanlight("run", "--config", str(appliance.config))
    assert second.returncode == 2
    assert "Another Scanlight runs on the state folder" in second.stderr


def test_a_missing_export_folder_is_a_fault_and_heals(appliance: Appliance, small_chest: SmallChest) -> None:
    with appliance:
        appliance.export_folder.rename(appliance.export_folder.with_name("away"))
        appliance.wait("fault", lambda: appliance.status()["state"] == "fault", 10)
        ready = httpx.get(f"{appliance.url}/readyz")
        assert (ready.status_code, ready.json()["ok"]) == (503, False)
        assert httpx.get(f"{appliance.url}/healthz").status_code == 200
        appliance.export_folder.with_name("away").rename(appliance.export_folder)
        appliance.wait("ready again", lambda: appliance.status()["state"] == "ready", 10)
        appliance.copy(small_chest("covid"), "study")
        assert appliance.wait_for_findings(1)[0]["outcome"] == "flagged"


def test_logs_name_no_file_and_no_patient(appliance: Appliance, small_chest: SmallChest) -> None:
    with appliance:
        (appliance.export_folder / "DOE^JANE.dcm").write_text("not DICOM")
        appliance.copy(small_chest("covid"), "DOE^JANE")
        appliance.wait_for_findings(2)
        appliance.stop()
    lines = appliance.log.read_text().splitlines()
    for line in lines:
        assert {"at", "level", "event"} <= json.loads(line).keys()
    text = "\n".join(lines)
    assert "DOE" not in text
    assert "PHANTOM" not in text
