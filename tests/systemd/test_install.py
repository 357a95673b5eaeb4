"""install.sh against a throw-away root, with real wheels and real virtual environments."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from releases import ROOT, Release, write_wheel

from appliance.journal import MIGRATIONS, Journal

pytestmark = pytest.mark.slow

INSTALL = ROOT / "systemd/install.sh"
UNIT = "usr/local/lib/systemd/system/scanlight.service"
DROP_IN = "etc/systemd/system/scanlight.service.d/10-configuration.conf"


def installer(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", INSTALL, *words], capture_output=True, text=True, timeout=300, check=False)


@dataclass
class Site:
    """A throw-away root in which both versions may be used, and a state folder beside it."""

    root: Path
    state: Path
    environments: Path

    @property
    def config(self) -> Path:
        return self.root / "etc/scanlight.yaml"

    @property
    def journal(self) -> Path:
        return self.state / "journal.db"

    def configure(self, more: str = "") -> None:
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(f"export_folder: /srv/ct-export\nstate_folder: {self.state}\n{more}")

    def run(self, *words: str | Path) -> str:
        done = installer(*words, "--root", self.root)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self, release: Release) -> str:
        self.prepare(release)
        return self.run("install", release.wheel)

    def prepare(self, release: Release) -> None:
        """Lend it a virtual environment that was made before, since that takes its time."""
        ours = self.root / "opt/scanlight" / release.version
        if not ours.exists():
            shutil.copytree(self.environments / release.version, ours, symlinks=True, copy_function=os.link)

    def refuse(self, *words: str | Path) -> str:
        """What it says when it does nothing; it names no path of a script and no traceback."""
        before = self.snapshot()
        done = installer(*words, "--root", self.root)
        assert done.returncode == 1, done.stdout
        assert self.snapshot() == before
        return done.stderr

    def link(self, name: str) -> str | None:
        path = self.root / "opt/scanlight" / name
        return str(path.readlink()) if path.is_symlink() else None

    def scanlight(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = self.root / "opt/scanlight/current/bin/scanlight"
        return subprocess.run([command, *words], capture_output=True, text=True, timeout=60, check=False)

    def open_journal(self) -> None:
        """As the daemon of the current version does at its start."""
        python = self.root / "opt/scanlight/current/bin/python"
        script = "import sys, pathlib, appliance.journal as j; j.Journal(pathlib.Path(sys.argv[1]))"
        subprocess.run([python, "-I", "-c", script, self.journal], check=True, timeout=60)

    def snapshot(self) -> dict[Path, str]:
        """All files, links and folders below the root and the state folder, and what would show a change."""
        return {
            path: str(path.readlink()) if path.is_symlink() else kept(path)
            for top in (self.root, self.state)
            for path in top.rglob("*")
            if "__pycache__" not in path.parts
        }


def kept(path: Path) -> str:
    status = path.stat()
    is_file = path.is_file()
    return f"{status.st_mode} {status.st_size} {status.st_mtime_ns}" if is_file else str(status.st_mode)


@pytest.fixture(scope="session")
def environments(releases: tuple[Release, Release], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both versions, installed one after the other; half of the older one was left there by a power cut."""
    if shutil.which("systemd-sysusers") is None:
        pytest.skip("needs systemd: apt-get install systemd")
    root = tmp_path_factory.mktemp("root")
    half = root / "opt/scanlight" / releases[0].version / "half"
    half.mkdir(parents=True)
    for release in releases:
        done = installer("install", release.wheel, "--wheelhouse", release.wheelhouse, "--root", root)
        assert done.returncode == 0, done.stderr
    assert not half.exists()
    return root / "opt/scanlight"


@pytest.fixture
def site(environments: Path, tmp_path: Path) -> Site:
    for name in ("root/opt/scanlight", "root/usr/share/bash-completion", "state"):
        (tmp_path / name).mkdir(parents=True)
    return Site(tmp_path / "root", tmp_path / "state", environments)


@pytest.fixture
def this(releases: tuple[Release, Release]) -> Release:
    return releases[0]


@pytest.fixture
def newer(releases: tuple[Release, Release]) -> Release:
    return releases[1]


def test_a_first_install_brings_service_user_and_a_configuration_to_fill_in(
    site: Site, this: Release
) -> None:
    told = site.install(this)
    assert "Name the export folder" in told
    assert site.link("current") == this.version
    assert site.link("previous") is None
    assert site.scanlight("--version").stdout == f"scanlight {this.version}\n"
    assert site.scanlight("config", "check", site.config).returncode == 0
    assert (site.root / UNIT).read_bytes() == (ROOT / "systemd/scanlight.service").read_bytes()
    for kind in ("sysusers", "tmpfiles"):
        assert (site.root / f"usr/local/lib/{kind}.d/scanlight.conf").is_file()
    assert not (site.root / DROP_IN).exists()
    assert (
        site.root / "usr/local/bin/scanlight"
    ).readlink() == site.root / "opt/scanlight/current/bin/scanlight"
    completion = site.root / "usr/local/share/bash-completion/completions/scanlight"
    assert "complete -o default" in completion.read_text()


def test_an_install_that_is_repeated_changes_nothing(site: Site, this: Release) -> None:
    site.configure()
    site.install(this)
    before = site.snapshot()
    assert "there already" in site.install(this)
    assert site.snapshot() == before


def test_a_configuration_that_changed_opens_the_sandbox(site: Site, this: Release) -> None:
    site.configure()
    site.install(this)
    assert "IPAddressAllow" not in (site.root / DROP_IN).read_text()
    site.configure("metrics_listen: 0.0.0.0:9464")
    site.run("configure")
    assert "IPAddressAllow=any" in (site.root / DROP_IN).read_text()


def test_an_upgrade_keeps_the_version_before_and_none_older(
    site: Site, this: Release, newer: Release
) -> None:
    site.configure()
    site.install(this)
    older = site.root / "opt/scanlight/0.0.1"
    older.mkdir()
    site.install(newer)
    assert (site.link("current"), site.link("previous")) == (newer.version, this.version)
    assert site.scanlight("--version").stdout == f"scanlight {newer.version}\n"
    assert not older.exists()


def test_a_version_that_does_not_take_the_configuration_is_not_put_to_use(
    site: Site, this: Release, newer: Release
) -> None:
    site.configure()
    site.install(this)
    site.configure("no_such_setting: 1")
    site.prepare(newer)
    told = site.refuse("install", newer.wheel)
    assert "no_such_setting: there is no such setting" in told
    assert "nothing was changed" in told
    assert site.link("current") == this.version
    assert "no_such_setting" in site.refuse("configure")


def test_a_rollback_runs_the_version_before_and_another_one_the_newer_again(
    site: Site, this: Release, newer: Release
) -> None:
    site.configure()
    site.install(this)
    site.open_journal()
    site.install(newer)
    assert "can be read as it is" in site.run("rollback")
    assert (site.link("current"), site.link("previous")) == (this.version, newer.version)
    assert site.scanlight("--version").stdout == f"scanlight {this.version}\n"
    site.run("rollback")
    assert site.link("current") == newer.version


def test_an_older_wheel_is_a_rollback_too(site: Site, this: Release, newer: Release) -> None:
    site.configure()
    site.install(this)
    site.open_journal()
    site.install(newer)
    site.open_journal()
    assert "what the results folder has" in site.install(this)
    assert (site.link("current"), site.link("previous")) == (this.version, newer.version)
    assert schema(site.journal) == len(MIGRATIONS)


def test_a_rollback_past_a_schema_change_puts_the_journal_back_and_keeps_the_newer_one(
    site: Site, this: Release, newer: Release
) -> None:
    site.configure()
    site.install(this)
    site.open_journal()
    with closing(Journal(site.journal)) as journal:
        journal.series("1.2.before", "1.2")
    site.install(newer)
    site.open_journal()
    with closing(sqlite3.connect(site.journal)) as db, db:
        db.execute("INSERT INTO newer VALUES (1)")
    assert schema(site.journal) == len(MIGRATIONS) + 1
    told = site.run("rollback")
    (aside,) = site.state.glob("journal.*.aside")
    assert str(aside) in told
    assert "what the results folder has" in told
    assert schema(aside) == len(MIGRATIONS) + 1
    with closing(sqlite3.connect(aside)) as db:
        assert db.execute("SELECT COUNT(*) FROM newer").fetchone() == (1,)
    site.open_journal()
    assert schema(site.journal) == len(MIGRATIONS)
    with closing(sqlite3.connect(site.journal)) as db:
        assert db.execute("SELECT subject FROM series").fetchall() == [("1.2.before",)]

    site.install(newer)
    site.open_journal()
    assert schema(site.journal) == len(MIGRATIONS) + 1


def schema(journal: Path) -> int:
    with closing(sqlite3.connect(journal)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_a_rollback_without_a_backup_leaves_the_newer_version(
    site: Site, this: Release, newer: Release
) -> None:
    site.configure()
    site.install(this)
    site.install(newer)
    site.open_journal()
    for backup in site.state.glob("*.bak"):
        backup.unlink()
    done = installer("rollback", "--root", site.root)
    assert done.returncode == 1
    assert "no backup beside it can be read" in done.stderr
    assert site.link("current") == newer.version


def test_without_a_version_before_nothing_is_rolled_back(site: Site, this: Release) -> None:
    site.configure()
    site.install(this)
    assert "There is no version before this one" in site.refuse("rollback")


def test_uninstalling_leaves_configuration_and_data_alone(site: Site, this: Release) -> None:
    site.configure()
    site.install(this)
    site.open_journal()
    for _ in range(2):
        site.run("uninstall")
        left = {path.name for path in site.root.rglob("*") if not path.is_dir()}
        assert left - {"passwd", "group", "shadow", "gshadow", ".pwd.lock"} == {"scanlight.yaml"}
        assert site.journal.exists()
    assert "not installed here" in site.refuse("configure")


def test_another_wheel_of_the_version_that_runs_is_refused(site: Site, this: Release, tmp_path: Path) -> None:
    site.configure()
    site.install(this)
    other = tmp_path / this.wheel.name
    other.write_bytes(this.wheel.read_bytes() + b"\0")
    assert "build the new one with another version" in site.refuse("install", other)


def test_dependencies_that_cannot_be_had_leave_nothing_behind(
    site: Site, this: Release, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    told = site.refuse("install", this.wheel, "--wheelhouse", tmp_path / "empty")
    assert told.endswith("name the dependencies' wheels with --wheelhouse DIR.\n")


def test_wheels_for_the_gpu_are_brought_and_come_with_the_next_version(
    site: Site, this: Release, newer: Release, tmp_path: Path
) -> None:
    site.configure()
    site.install(this)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    assert "holds no wheel of PyCUDA" in site.refuse("gpu", wheels)
    write_wheel(wheels, "pycuda", {"pycuda/__init__.py": ""})
    write_wheel(wheels, "tensorrt_rtx", {"tensorrt_rtx/__init__.py": ""})
    site.run("gpu", wheels)

    def brought() -> bool:
        python = site.root / "opt/scanlight/current/bin/python"
        script = "import pycuda, tensorrt_rtx as t, sys; sys.exit(sys.prefix not in t.__file__)"
        return subprocess.run([python, "-I", "-c", script], timeout=60, check=False).returncode == 0

    assert brought()
    shutil.rmtree(wheels)
    site.run("install", newer.wheel, "--wheelhouse", newer.wheelhouse)
    assert site.link("current") == newer.version
    assert brought()
    (site.root / "not wheels").mkdir()
    (site.root / "not wheels/pycuda-1-cp27-none-any.whl").write_bytes(b"")
    done = installer("gpu", site.root / "not wheels", "--root", site.root)
    assert done.returncode == 1
    assert "must be for the Python of" in done.stderr
    assert brought()


def test_a_machine_without_systemd_is_told_so(tmp_path: Path) -> None:
    command = [shutil.which("sh") or "", INSTALL, "uninstall", "--root", tmp_path]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("is missing here: apt-get install systemd.\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["install"], "There is no wheel named"),
        (["install", "missing.whl"], "There is no wheel missing.whl"),
        (["install", str(INSTALL)], "is no wheel of Scanlight"),
        (["install", "a.whl", "b.whl"], "b.whl is one word too many"),
        (["explode"], "There is no command explode"),
        (["gpu"], "Scanlight is not installed here"),
        (["gpu", "a", "b"], "b is one word too many"),
        (["install", "--quick"], "There is no option --quick"),
        (["install", "--wheelhouse"], "--wheelhouse needs a value"),
        (["install", "--wheelhouse", "missing"], "There is no folder missing"),
    ],
)
def test_a_wrong_word_gives_one_sentence(words: list[str], says: str, tmp_path: Path) -> None:
    done = installer("--root", tmp_path, *words)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_installer_passes_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck: apt-get install shellcheck")
    subprocess.run(["shellcheck", INSTALL], check=True)
