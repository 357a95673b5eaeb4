"""The acceptance test's view of the export folder and the state disk, on real ones with real faults."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.disks import RefusingDisk, small_disk
from file_systems import bound, shared

import tools.doctor.export_folder
from appliance.config import Config
from appliance.intake.hints import Hints
from tools.doctor.check import Check, Verdict
from tools.doctor.export_folder import clock, export_folder
from tools.doctor.state_disk import state_disk, workplace

Site = Callable[..., Config]

LOOK = """
import sys
from appliance.config import load
from pathlib import Path
from tools.doctor.state_disk import state_disk
for check in state_disk(load(Path(sys.argv[1]))):
    print(check.name, check.verdict, check.measured, sep="|")
"""


STAY = """
import sys, time
from pathlib import Path
from tools.doctor.own_folder import own_folder
with own_folder(Path(sys.argv[1])) as place:
    (place / "daemon").mkdir()
    print(place, flush=True)
    time.sleep(600)
"""


def by_name(checks: list[Check]) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in checks}


def looked_at(config: Config, env: dict[str, str]) -> dict[str, str]:
    """The lines on the state disk, by a process of its own."""
    file = config.state_folder.parent / "site.yaml"
    file.write_text(config.model_dump_json(include={"export_folder", "state_folder", "listen"}))
    done = subprocess.run(
        [sys.executable, "-c", LOOK, file],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **env},
    )
    return {line.split("|")[0]: line for line in done.stdout.splitlines()}


def test_a_local_folder_has_close_events_and_nothing_is_left_in_it(site: Site) -> None:
    config = site()
    hints = Hints(config.export_folder)
    hints.watch(config.export_folder)
    assert set(by_name(list(export_folder(config))).values()) == {Verdict.PASSED}
    assert list(config.export_folder.iterdir()) == []
    # What others hear of it is a name at which there never was a file.
    assert not any(path.exists() for path in hints.read().touched)
    hints.close()


def test_a_folder_that_is_not_there_or_no_folder_fails(site: Site, tmp_path: Path) -> None:
    config = site()
    config.export_folder.rmdir()
    (check,) = export_folder(config)
    assert (check.verdict, check.measured) == (
        Verdict.FAILED,
        f"The export folder {config.export_folder} cannot be read: No such file or directory.",
    )
    assert check.remedy
    config.export_folder.write_text("")
    assert next(export_folder(config)).verdict is Verdict.FAILED


def test_a_folder_that_is_only_read_is_as_it_should_be(site: Site) -> None:
    config = site()
    with bound(config.export_folder, config.export_folder, "ro"):
        checks = list(export_folder(config))
    assert by_name(checks) == {
        "Export folder": Verdict.PASSED,
        "Close events": Verdict.NOT_DONE,
        "Clock of the export folder": Verdict.NOT_DONE,
    }
    assert "as is right" in checks[1].measured


def test_a_share_is_polled_or_fails(site: Site, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    config = site()
    with shared(source, config.export_folder):
        checks = list(export_folder(config))
        assert checks[0].measured.startswith("network share: fuse.sshfs")
        assert (checks[1].verdict, checks[1].measured) == (Verdict.PASSED, "the folder is polled")
        without = by_name(list(export_folder(site(polling="off"))))
    assert without["Close events"] is Verdict.FAILED
    assert list(source.iterdir()) == []


def test_a_share_that_hangs_is_not_waited_for(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools.doctor.export_folder, "ANSWER_S", 0.5)
    source = tmp_path / "source"
    source.mkdir()
    config = site()
    with shared(source, config.export_folder) as share:
        share.hang()
        (check,) = export_folder(config)
        share.go_on()
    assert check.verdict is Verdict.FAILED
    assert check.measured.endswith("does not answer")


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(59, Verdict.PASSED), (-59, Verdict.PASSED), (61, Verdict.FAILED), (-61, Verdict.FAILED)],
)
def test_a_clock_a_minute_ahead_or_behind_fails(seconds: float, verdict: Verdict) -> None:
    assert clock(seconds).verdict is verdict


def test_a_local_state_disk_passes_and_nothing_is_left_on_it(site: Site) -> None:
    config = site()
    found = by_name(list(state_disk(config)))
    assert found["State disk"] is Verdict.PASSED
    assert list(config.state_folder.iterdir()) == []


def test_what_a_test_that_was_killed_left_goes_with_the_next_and_what_is_used_stays(site: Site) -> None:
    state = site().state_folder
    (state / ".doctor-mine").write_text("a file, which no test makes")
    with staying(state) as (killed, left), staying(state) as (_, used):
        killed.kill()
        killed.wait()
        assert (left / "daemon").is_dir()
        with workplace(site()) as place:
            assert {one for one in state.iterdir() if one.is_dir()} == {place, used}
    assert (used / "daemon").is_dir()
    assert set(by_name(list(state_disk(site())))) >= {"fsync of the state disk"}
    assert [one.name for one in state.iterdir()] == [".doctor-mine"]


@contextmanager
def staying(state: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process with a folder of its own, which is killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", STAY, state], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def test_a_state_folder_that_takes_no_writes_fails(site: Site) -> None:
    config = site()
    with bound(config.state_folder, config.state_folder, "ro"):
        (check,) = state_disk(config)
        with workplace(config) as place:
            assert not place.is_relative_to(config.state_folder)
    assert (check.verdict, check.measured) == (
        Verdict.FAILED,
        f"{config.state_folder}: Read-only file system",
    )
    config.state_folder.rmdir()
    (check,) = state_disk(config)
    assert check.measured.endswith("No such file or directory")


def test_a_small_disk_lacks_room(site: Site, tmp_path: Path) -> None:
    config = site()
    with small_disk(config.state_folder):
        found = by_name(list(state_disk(config)))
    assert found["Room on the state disk"] is Verdict.FAILED


def test_a_state_folder_on_a_share_fails(site: Site, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    config = site()
    with shared(source, config.state_folder):
        found = by_name(list(state_disk(config)))
    assert found["State disk"] is Verdict.FAILED


def test_a_disk_that_fails_fails(site: Site, tmp_path: Path) -> None:
    config = site()
    disk = RefusingDisk(tmp_path, config.state_folder)
    with disk.refusing(5):
        found = looked_at(config, disk.env)
    assert list(found) == ["State disk"]
    assert "failed" in found["State disk"]
    assert "Input/output error" in found["State disk"]


def test_a_disk_that_takes_its_time_fails(site: Site, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs cc: apt-get install gcc libc6-dev")
    library = tmp_path / "slow.so"
    source = Path(__file__).with_name("slow_fsync.c")
    subprocess.run(
        ["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True
    )
    found = looked_at(site(), {"LD_PRELOAD": str(library)})
    assert "|failed|" in found["fsync of the state disk"]
