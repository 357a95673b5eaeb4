"""The unit is valid, and its sandbox as tight as it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from command import scanlight
from releases import ROOT

from appliance.config import parse
from appliance.sandbox import drop_in

UNIT = ROOT / "systemd/scanlight.service"
EXPOSURE = 2.0
THREE_LINES = "export_folder: /srv/ct\nstate_folder: /var/lib/scanlight\nlisten: 127.0.0.1:8080\n"


@pytest.fixture
def analyze() -> str:
    command = shutil.which("systemd-analyze")
    if command is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    return command


def opened(text: str) -> list[str]:
    """The settings of the drop-in for a configuration."""
    return [line for line in drop_in(parse(text, "site.yaml")).splitlines() if "=" in line]


def verify(analyze: str, folder: Path, drop_in: str | None = None) -> str:
    """What systemd-analyze says of the unit; its command is replaced by one that this machine has."""
    unit = folder / UNIT.name
    unit.write_text(re.sub(r"^(Exec\w+)=\S+", r"\1=/bin/true", UNIT.read_text(), flags=re.M))
    if drop_in is not None:
        (folder / f"{UNIT.name}.d").mkdir()
        (folder / f"{UNIT.name}.d/10-configuration.conf").write_text(drop_in)
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit {done.returncode}")


def test_the_unit_is_valid(analyze: str, tmp_path: Path) -> None:
    assert verify(analyze, tmp_path) == ""


def test_a_mistake_in_a_unit_is_found(analyze: str, tmp_path: Path) -> None:
    assert "ReadWritePath" in verify(analyze, tmp_path, "[Service]\nReadWritePath=/srv\n")


def test_the_drop_in_for_an_unusual_configuration_is_valid(analyze: str, tmp_path: Path) -> None:
    text = f'{THREE_LINES}results_folder: "/home/ct/50 % of \\"results\\""\nmetrics_listen: 0.0.0.0:9464\n'
    assert verify(analyze, tmp_path, drop_in(parse(text, "site.yaml"))) == ""


def security(analyze: str) -> list[dict[str, str]]:
    done = subprocess.run(
        [analyze, "security", "--offline=yes", "--json=short", UNIT],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def test_the_exposure_is_low(analyze: str) -> None:
    done = subprocess.run(
        [analyze, "security", "--offline=yes", f"--threshold={EXPOSURE * 10:g}", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:]


def test_each_exception_is_explained_in_the_unit(analyze: str) -> None:
    comments = "".join(line for line in UNIT.read_text().splitlines() if line.startswith("#"))
    exceptions = {
        re.split("[=/]", one["name"])[0] for one in security(analyze) if float(one["exposure"] or 0)
    }
    assert len(exceptions) > 3
    assert {one for one in exceptions if one not in comments} == set()


def test_whatever_stops_the_service_it_is_started_again() -> None:
    text = UNIT.read_text()
    for line in (
        "Type=notify",
        "Restart=always",
        "RestartSec=5",
        "StartLimitIntervalSec=0",
        "WatchdogSec=60",
    ):
        assert f"\n{line}\n" in text, line


def test_three_lines_of_configuration_need_nothing_opened() -> None:
    assert opened(THREE_LINES) == []
    assert opened(THREE_LINES + "results_folder: /var/lib/scanlight/results/ct1\n") == []
    assert opened(THREE_LINES + 'metrics_listen: "[::1]:9464"\n') == []
    assert opened(THREE_LINES.replace("127.0.0.1", "localhost")) == []


@pytest.mark.parametrize(
    ("line", "setting"),
    [
        ("results_folder: /srv/results", "ReadWritePaths=/srv/results"),
        ("results_folder: /var/lib/scanlight2", "ReadWritePaths=/var/lib/scanlight2"),
        ("results_folder: /srv/50 %", 'ReadWritePaths="/srv/50 %%"'),
        ("model: /home/physics/model.onnx", "ProtectHome=read-only"),
        ("access_token_file: /root/token", "ProtectHome=read-only"),
        ("tls: {certificate: /etc/page.pem, key: /home/it/page.key}", "ProtectHome=read-only"),
        ("metrics_listen: 192.0.2.7:9464", "IPAddressAllow=any"),
        ("metrics_listen: ct1.example:9464", "IPAddressAllow=any"),
    ],
)
def test_what_the_configuration_names_is_opened_and_nothing_else(line: str, setting: str) -> None:
    assert opened(THREE_LINES + line) == [setting]


def test_a_lamp_may_use_the_devices_that_lamps_are_and_its_command_is_found() -> None:
    devices = ["DeviceAllow=char-hidraw rw", "DeviceAllow=char-usb_device rw"]
    assert opened(THREE_LINES + "lamp: {command: [/usr/local/bin/lamp]}") == devices
    assert opened(THREE_LINES + "lamp: {command: [/home/it/lamp]}") == ["ProtectHome=read-only", *devices]


def test_results_within_a_state_folder_elsewhere_are_opened_with_it() -> None:
    assert opened(THREE_LINES.replace("/var/lib/", "/data/")) == ["ReadWritePaths=/data/scanlight"]


def test_an_export_folder_that_is_a_link_into_a_home_or_temporary_folder_is_seen(tmp_path: Path) -> None:
    for target, setting in (("/home/ct", "ProtectHome=read-only"), ("/var/tmp/ct", "PrivateTmp=no")):
        link = tmp_path / setting
        link.symlink_to(target)
        found = opened(THREE_LINES.replace("/srv/ct", str(link)))
        assert setting in found


def test_the_command_prints_the_drop_in(tmp_path: Path) -> None:
    config = tmp_path / "site.yaml"
    config.write_text(THREE_LINES + "results_folder: /srv/results\n")
    done = scanlight("config", "drop-in", config)
    assert "ReadWritePaths=/srv/results\n" in done.stdout
    config.write_text("export_folder: here\n")
    done = scanlight("config", "drop-in", config)
    assert (done.returncode, done.stdout) == (2, "")
    assert "export_folder: must be an absolute path" in done.stderr
