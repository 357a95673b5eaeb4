"""The export folder's mishaps, with a real daemon on real mounts and shares."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
from command import scanlight
from file_systems import bound, inotify_descriptors, mounted_anew, shared
from harness import Appliance, uid_of
from rig import RIGGED, environment

from engines.bundle import embedded_model
from tools.replay.restamp import Original, fresh_uid

SmallChest = Callable[[str], list[Path]]

pytestmark = pytest.mark.slow

CEILING_S = 3.0
"""Of the harness: after so long without a slice a series ends."""

RESCAN_S = 0.5
OLD_STUDIES = 2000

TROUBLE = {"export_folder_down", "export_folder_unmounted", "export_folder_hangs", "rescan_late"}


@pytest.fixture
def scanner(tmp_path: Path) -> Path:
    """The folder behind the export folder, as the scanner's own machine sees it."""
    folder = tmp_path / "scanner"
    folder.mkdir()
    return folder


def export(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())


def healthy(appliance: Appliance) -> bool:
    return httpx.get(f"{appliance.url}/healthz", timeout=5).status_code == 200


def ready(appliance: Appliance) -> bool:
    return httpx.get(f"{appliance.url}/readyz", timeout=5).status_code == 200


def wait_for_trouble(appliance: Appliance, *codes: str) -> None:
    appliance.wait(f"the fault is {codes}", lambda: set(codes) <= set(appliance.why()), 20)
    assert appliance.status()["state"] == "fault"
    assert healthy(appliance)


def wait_until_up(appliance: Appliance) -> None:
    appliance.wait("the folder is up", lambda: not TROUBLE & set(appliance.why()) and healthy(appliance), 20)


def counted(appliance: Appliance, sample: str) -> float:
    """A sample of the metrics."""
    lines = httpx.get(f"{appliance.url}/metrics", timeout=5).text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"scanlight_{sample}"))


def outcomes(appliance: Appliance) -> dict[str, list[tuple[str, int, int]]]:
    """Outcome, revision and slices of each finding, by series."""
    found: dict[str, list[tuple[str, int, int]]] = {}
    for one in appliance.findings():
        subject = one["series_uid"] or one["path"]
        found.setdefault(subject, []).append((one["outcome"], one["revision"], one["slices"]))
    return found


def test_nothing_ends_while_the_folder_is_unmounted_and_it_heals_when_it_is_mounted_again(
    tmp_path: Path, scanner: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path, rescan_s=RESCAN_S)
    covid, clear = small_chest("covid"), small_chest("clear")
    half = len(clear) // 2
    export(covid, scanner / "ended")
    with bound(scanner, appliance.export_folder), appliance:
        appliance.wait_for_findings(1)
        export(clear[:half], scanner / "study")
        appliance.wait("half is in", lambda: bool(appliance.status()["in_progress"]))
        with mounted_anew(scanner, appliance.export_folder):
            wait_for_trouble(appliance, "export_folder_down", "export_folder_unmounted")
            assert not ready(appliance)
            assert appliance.cli("retry", uid_of(covid[0])).returncode == 0
            time.sleep(2 * CEILING_S)
            assert len(appliance.findings()) == 1
            assert {one["series"] for one in appliance.status()["in_progress"]} == {
                uid_of(covid[0])[-6:],
                uid_of(clear[0])[-6:],
            }
            appliance.stop()
            appliance.launch()
            wait_for_trouble(appliance, "export_folder_unmounted")
            export(clear[half:], scanner / "study")
        wait_until_up(appliance)
        appliance.wait_for_findings(2)
        appliance.wait("all ends", lambda: not appliance.status()["in_progress"], 20)
        assert outcomes(appliance) == {
            uid_of(covid[0]): [("flagged", 1, len(covid))],
            uid_of(clear[0]): [("not_flagged", 1, len(clear))],
        }
    assert "files_gone" not in appliance.log.read_text()


def test_a_read_only_folder_is_read(tmp_path: Path, scanner: Path, small_chest: SmallChest) -> None:
    appliance = Appliance(tmp_path)
    files = small_chest("covid")
    with bound(scanner, appliance.export_folder, "ro"), appliance:
        export(files, scanner / "study")
        (record,) = appliance.wait_for_findings(1)
        assert (record["outcome"], record["slices"]) == ("flagged", len(files))


def test_a_network_share_is_polled_unasked_and_one_that_hangs_is_a_fault_that_ends_nothing(
    tmp_path: Path, scanner: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path, rescan_s=RESCAN_S)
    covid, clear = small_chest("covid"), small_chest("clear")
    with shared(scanner, appliance.export_folder) as share, appliance:
        assert appliance.process is not None
        assert inotify_descriptors(appliance.process.pid) == []
        export(covid, scanner / "study")
        appliance.wait_for_findings(1)
        export(clear[:-10], scanner / "another")
        appliance.wait("it is being read", lambda: bool(appliance.status()["in_progress"]))
        share.hang()
        wait_for_trouble(appliance, "export_folder_hangs")
        export(clear[-10:], scanner / "another")
        time.sleep(2 * CEILING_S)
        assert len(appliance.findings()) == 1
        share.go_on()
        wait_until_up(appliance)
        appliance.wait_for_findings(2)
        assert outcomes(appliance) == {
            uid_of(covid[0]): [("flagged", 1, len(covid))],
            uid_of(clear[0]): [("not_flagged", 1, len(clear))],
        }


def test_a_daemon_stops_and_starts_on_a_share_that_hangs(
    tmp_path: Path, scanner: Path, small_chest: SmallChest
) -> None:
    """Nor is a worker waited for that is inside the share, which cannot be killed there."""
    appliance = Appliance(tmp_path, rescan_s=RESCAN_S)
    program, appliance.program = appliance.program, RIGGED
    appliance.environment = environment(tmp_path / "rig")
    (tmp_path / "rig").mkdir()
    (tmp_path / "rig" / "direct").touch()
    files = small_chest("covid")
    with shared(scanner, appliance.export_folder, "--read-rate=200k") as share, appliance:
        export(files, scanner / "study")
        appliance.wait("some are read", lambda: bool(appliance.status()["in_progress"]))
        share.hang()
        wait_for_trouble(appliance, "export_folder_hangs")
        asked_at = time.monotonic()
        assert appliance.stop() == 0
        assert time.monotonic() - asked_at < 10
        appliance.program, appliance.environment = program, {}
        appliance.launch()
        wait_for_trouble(appliance, "export_folder_hangs")
        assert not ready(appliance)
        share.go_on()
        wait_until_up(appliance)
        appliance.wait_for_findings(1)
        assert outcomes(appliance) == {uid_of(files[0]): [("flagged", 1, len(files))]}


def test_files_made_at_full_size_and_filled_later_are_read_although_their_times_were_put_back(
    tmp_path: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path, rescan_s=RESCAN_S)
    files = small_chest("covid")
    study, made = appliance.export_folder / "study", tmp_path / "made"
    made.mkdir()
    for file in files:
        (made / file.stem).write_bytes(bytes(file.stat().st_size))
        os.utime(made / file.stem, (0, 0))
    with appliance:
        # Each is looked at once: none changes after it is seen.
        made.rename(study)
        others = 'files_total{kind="other"}'
        appliance.wait("they were looked at", lambda: counted(appliance, others) == len(files), 30)
        for file in files:
            with (study / file.stem).open("r+b") as content:
                content.write(file.read_bytes())
            os.utime(study / file.stem, (0, 0))
        (record,) = appliance.wait_for_findings(1)
    assert (record["outcome"], record["slices"]) == ("flagged", len(files))


def test_a_share_that_breaks_down_costs_no_file(
    tmp_path: Path, scanner: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path, rescan_s=RESCAN_S)
    files = small_chest("covid")
    with shared(scanner, appliance.export_folder, "--read-rate=200k") as share, appliance:
        export(files, scanner / "study")
        appliance.wait("some are read", lambda: bool(appliance.status()["in_progress"]))
        share.break_down()
        wait_for_trouble(appliance, "export_folder_down")
        time.sleep(2 * CEILING_S)
        share.unmount()
        share.mount()
        wait_until_up(appliance)
        appliance.wait_for_findings(1)
        appliance.wait("all ends", lambda: not appliance.status()["in_progress"], 20)
        assert outcomes(appliance) == {uid_of(files[0]): [("flagged", 1, len(files))]}


def test_a_share_of_which_each_read_takes_a_second_is_read_as_any_other(
    tmp_path: Path, scanner: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path, rescan_s=RESCAN_S)
    files = small_chest("covid")[:15]
    a_file_a_second = f"--read-rate={files[0].stat().st_size}"
    with shared(scanner, appliance.export_folder, a_file_a_second), appliance:
        export(files, scanner / "study")
        trouble: set[str] = set()

        def told() -> bool:
            trouble.update(appliance.why())
            return bool(appliance.findings())

        appliance.wait("it is told of", told, 60)
        (record,) = appliance.findings()
    model = embedded_model("densitometry")
    quick = json.loads(scanlight("read", "--json", "--model", model, scanner / "study").stdout)
    for key in ("outcome", "reason", "probability", "reading_key", "slices"):
        assert record[key] == quick[key], key
    # The share answers one question at a time, and looks are late that wait behind a second's reading.
    assert trouble <= {"rescan_late"}


def test_without_inotify_looks_bring_the_files_and_the_loss_is_counted(
    tmp_path: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path, rescan_s=RESCAN_S)
    if subprocess.run(["unshare", "-U", "-r", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs user namespaces: sysctl user.max_user_namespaces")
    no_more = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'
    appliance.under = ["unshare", "-U", "-r", "sh", "-c", no_more, "sh"]
    with appliance:
        appliance.copy(small_chest("covid"), "study")
        assert appliance.wait_for_findings(1)[0]["outcome"] == "flagged"
        assert counted(appliance, 'watch_hints_lost_total{reason="limit"}') == 1
        assert not TROUBLE & set(appliance.why())
    assert '"event": "watch_hints_lost", "why": "limit"' in appliance.log.read_text()


def test_a_share_that_is_mounted_only_after_the_first_start_is_taken_and_what_is_old_on_it_is_left_alone(
    tmp_path: Path, scanner: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path, rescan_s=RESCAN_S)
    old, new = small_chest("clear"), small_chest("covid")
    export(old, scanner / "old")
    long_ago = time.time() - 48 * 3600
    (scanner / "old" / "link").symlink_to("nowhere")
    for path in (scanner / "old").iterdir():
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    (appliance.export_folder / "README").write_text("the scanner's share is to be mounted here")
    with appliance:
        appliance.stop()
        appliance.start()
        with bound(scanner, appliance.export_folder):
            export(new, scanner / "new")
            assert appliance.wait_for_findings(1)[0]["series_uid"] == uid_of(new[0])
            skipped = 'series_total{outcome="skipped",reason="before_installation"}'
            appliance.wait("the old ones are named", lambda: counted(appliance, skipped) == 2, 20)
            assert ready(appliance)
            appliance.stop()
            appliance.start()
            appliance.wait("it looked", lambda: appliance.status()["facts"]["rescan_age_s"] is not None, 20)
            time.sleep(CEILING_S)
            assert len(appliance.findings()) == 1
            assert appliance.status()["counts"]["failed"] == 0
        wait_for_trouble(appliance, "export_folder_unmounted")


def test_of_two_thousand_old_studies_none_is_read_and_none_is_told_and_a_new_one_is_not_kept_waiting(
    tmp_path: Path, small_chest: SmallChest
) -> None:
    appliance = Appliance(tmp_path, rescan_s=RESCAN_S)
    files = small_chest("covid")
    original, long_ago = Original.of(files[30]), time.time() - 48 * 3600
    for number in range(OLD_STUDIES):
        path = appliance.export_folder / f"old {number}" / "1.dcm"
        path.parent.mkdir()
        path.write_bytes(original.stamped(partial(fresh_uid, salt=f"{number}")))
        os.utime(path, (long_ago, long_ago))
    named = 'files_total{kind="before_installation"}'
    with appliance:
        appliance.copy(files, "new")
        (record,) = appliance.wait_for_findings(1)
        assert counted(appliance, named) < OLD_STUDIES, "it overtakes the old ones"
        appliance.wait("all old ones are named", lambda: counted(appliance, named) == OLD_STUDIES, 120)
        appliance.stop()
        appliance.start()
        skipped = 'series_total{outcome="skipped",reason="before_installation"}'
        assert counted(appliance, skipped) == OLD_STUDIES
        assert counted(appliance, named) == OLD_STUDIES
        assert counted(appliance, 'files_total{kind="slice"}') == len(files)
        assert counted(appliance, "series_conservation_error") == 0
        assert [path.name for path in appliance.results.iterdir()] == [f"{record['series_uid']}.r1.json"]
