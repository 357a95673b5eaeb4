"""The installed service under a real systemd: its sandbox, its watchdog, its restarts, its versions."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine import Machine, system_python
from releases import ROOT, Release

from appliance.journal import MIGRATIONS
from engines.bundle import embedded_model

pytestmark = pytest.mark.slow

CONFIG = """\
export_folder: /srv/ct-export
state_folder: /var/lib/scanlight
model: /srv/model/densitometry.onnx
completeness: {floor_s: 0.6, ceiling_s: 3}
rescan_s: 1
"""
# There is no journal in the machine.
LOG = "[Service]\nStandardError=append:/run/scanlight.log\n"
HANGS = "[Service]\nEnvironment=SCANLIGHT_FAULT=loop.turned:hang:60\nWatchdogSec=2\nRestartSec=1\n"

SmallChest = Callable[[str], list[Path]]


class Site:
    """A machine with the installer and both versions at hand."""

    def __init__(self, machine: Machine, releases: tuple[Release, Release]) -> None:
        self.machine = machine
        self.installer = machine.bring(ROOT / "systemd/install.sh", "/root/release")
        self.wheels = [machine.bring(release.wheel, "/root/release") for release in releases]
        self.wheelhouse = machine.bring(releases[0].wheelhouse, "/root/release")
        self.export = machine.path("/srv/ct-export")
        self.export.mkdir(parents=True)
        machine.bring(embedded_model("densitometry"), "/srv/model")
        self.drop_in("log.conf", LOG)

    def install_sh(self, *words: str) -> str:
        where = ("--wheelhouse", self.wheelhouse, "--python", system_python())
        return self.machine.run("sh", self.installer, *words, *where).stdout

    def drop_in(self, name: str, text: str) -> None:
        folder = self.machine.path("/etc/systemd/system/scanlight.service.d")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def configure(self) -> None:
        self.machine.path("/etc/scanlight.yaml").write_text(CONFIG)
        self.install_sh("configure")

    def forget(self) -> None:
        """Nothing of what a test before this one left."""
        for path in ("/srv/ct-export", "/var/lib/scanlight"):
            self.machine.run("umount", "-q", path, check=False)
            self.machine.run("find", path, "-mindepth", "1", "-delete", check=False)
        self.machine.path("/etc/scanlight.yaml").unlink(missing_ok=True)
        self.machine.path("/run/scanlight.log").unlink(missing_ok=True)

    def export_chest(self, files: list[Path], folder: str) -> None:
        (self.export / folder).mkdir()
        for file in files:
            (self.export / folder / file.name).write_bytes(file.read_bytes())

    def results(self) -> set[str]:
        return {path.name for path in self.machine.path("/var/lib/scanlight/results").glob("*.json")}

    def says(self, text: str) -> Callable[[], bool]:
        return lambda: self.machine.show("StatusText").startswith(text)


@pytest.fixture(scope="module")
def machine_site(
    releases: tuple[Release, Release], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    system_python()
    with Machine(tmp_path_factory.mktemp("machine"), sysconfig.get_path("purelib")) as machine:
        yield Site(machine, releases)


@pytest.fixture
def bare(machine_site: Site) -> Site:
    """A machine that has never seen Scanlight."""
    machine_site.install_sh("uninstall")
    machine_site.forget()
    return machine_site


@pytest.fixture
def site(machine_site: Site) -> Site:
    """A machine on which it is installed and has nothing to do yet."""
    machine_site.machine.run("systemctl", "stop", "scanlight", check=False)
    machine_site.forget()
    machine_site.install_sh("install", machine_site.wheels[0])
    machine_site.configure()
    machine_site.machine.wait("ready", machine_site.says("ready"))
    return machine_site


def test_from_the_first_install_over_an_upgrade_and_back_to_the_end(
    bare: Site, small_chest: SmallChest
) -> None:
    site, machine = bare, bare.machine
    assert "Name the export folder" in site.install_sh("install", site.wheels[0])
    assert machine.show("ActiveState") == "inactive"
    machine.run("groupadd", "-f", "ct")
    machine.run("usermod", "-aG", "ct", "scanlight")
    machine.run("chgrp", "ct", "/srv/ct-export")
    site.export.chmod(0o750)
    site.configure()
    assert machine.show("ActiveState") == "active"
    assert machine.show("UnitFileState") == "enabled"
    machine.wait("ready", site.says("ready: 0 suspect"))

    site.export_chest(small_chest("covid"), "first")
    machine.wait("a flag", site.says("suspect: 1 suspect"))
    (result,) = site.results()
    status = machine.path(f"/var/lib/scanlight/results/{result}").stat()
    assert status.st_mode & 0o777 == 0o640
    assert machine.path("/var/lib/scanlight/results").stat().st_mode & 0o777 == 0o750
    the_sandbox_holds(site)

    main = machine.show("MainPID")
    site.install_sh("install", site.wheels[0])
    assert machine.show("MainPID") == main, "the same again does not even restart it"

    machine.run("systemctl", "stop", "scanlight")
    assert (machine.show("Result"), machine.show("ExecMainStatus")) == ("success", "0")
    site.install_sh("install", site.wheels[1])
    machine.wait("the flag is still known", site.says("suspect: 1 suspect"))
    assert machine.path(f"/var/lib/scanlight/journal.v{len(MIGRATIONS)}.bak").exists()
    assert "what the results folder has" in site.install_sh("rollback")
    machine.wait("the flag is known after the rollback", site.says("suspect: 1 suspect"))
    assert site.results() == {result}

    site.install_sh("uninstall")
    assert machine.show("LoadState") == "not-found"
    assert not machine.path("/opt/scanlight").exists()
    assert site.results() == {result}


def the_sandbox_holds(site: Site) -> None:
    """The daemon has just worked, and this is what it cannot do."""
    machine = site.machine
    main = machine.show("MainPID")
    facts = dict(
        line.split(":\t", 1)
        for line in machine.path(f"/proc/{main}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert facts["Seccomp"] == "2"
    assert facts["NoNewPrivs"] == "1"
    assert {facts[one] for one in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {"0" * 16}
    assert facts["Uid"].split()[0] != "0"
    for folder in ("/srv/ct-export", "/opt/scanlight", "/etc"):
        done = machine.run("nsenter", "-t", main, "-m", "touch", f"{folder}/x", check=False)
        assert "Read-only file system" in done.stderr, folder
    assert machine.run("nsenter", "-t", main, "-m", "ls", "/root", check=False).stdout == ""


def test_a_reload_changes_what_can_change_and_says_what_is_wrong(site: Site) -> None:
    machine = site.machine
    lamp, told = machine.path("/usr/local/bin/lamp"), machine.path("/var/lib/scanlight/told")
    lamp.write_text('#!/bin/sh\necho "$1" >>/var/lib/scanlight/told\n')
    lamp.chmod(0o755)
    file = machine.path("/etc/scanlight.yaml")
    main, before = machine.show("MainPID"), file.read_text()
    file.write_text(before + "log_levle: debug\n")
    assert machine.run("systemctl", "reload", "scanlight", check=False).returncode != 0
    assert "did you mean log_level?" in site.machine.service_log()
    file.write_text(before + "lamp: {command: [/usr/local/bin/lamp]}\n")
    machine.run("systemctl", "reload", "scanlight")
    machine.wait("the lamp is lit", lambda: told.exists() and "ready" in told.read_text())
    assert (machine.show("MainPID"), machine.show("ActiveState")) == (main, "active")
    machine.run("systemctl", "stop", "scanlight")
    assert told.read_text().splitlines()[-1] == "no_signal"


def test_a_share_that_is_mounted_after_the_start_is_seen(site: Site, small_chest: SmallChest) -> None:
    machine = site.machine
    machine.run("mount", "-t", "tmpfs", "none", "/srv/ct-export")
    site.export_chest(small_chest("covid"), "first")
    machine.wait("what comes over the share is read", site.says("suspect: 1 suspect"))
    machine.run("mount", "-t", "tmpfs", "another", "/srv/ct-export")
    machine.wait("another file system is a fault", site.says("fault (export_folder_down"))
    machine.run("umount", "/srv/ct-export")
    machine.wait("the same again is none", site.says("suspect: 1 suspect"))
    machine.run("umount", "/srv/ct-export")
    machine.wait("no share at all is a fault", site.says("fault (export_folder_down"))


def test_a_main_loop_that_hangs_is_ended_and_started_again(site: Site) -> None:
    machine = site.machine
    site.drop_in("hangs.conf", HANGS)
    site.configure()
    machine.wait("it was started again", lambda: int(machine.show("NRestarts")) >= 1)
    machine.path("/etc/systemd/system/scanlight.service.d/hangs.conf").unlink()
    machine.run("systemctl", "daemon-reload")
    machine.wait("it runs without the fault", site.says("ready"))


def test_a_disk_that_is_full_at_the_start_heals_by_itself(site: Site, small_chest: SmallChest) -> None:
    machine = site.machine
    machine.run("systemctl", "stop", "scanlight")
    machine.run("mount", "-t", "tmpfs", "-o", "size=32M,mode=755", "none", "/var/lib/scanlight")
    filler = machine.path("/var/lib/scanlight/filler")
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * (64 << 20))
    site.export_chest(small_chest("covid"), "first")
    machine.run("systemctl", "start", "--no-block", "scanlight")
    machine.wait("it was tried again", lambda: int(machine.show("NRestarts")) >= 2)
    assert site.results() == set()
    filler.unlink()
    machine.wait("a flag", site.says("suspect: 1 suspect"))
    assert len(site.results()) == 1
