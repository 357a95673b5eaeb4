"""scanlight doctor and scanlight accept, as they are typed."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from command import scanlight
from harness import Appliance

from appliance.acceptance import WHY_NOT
from engines.bundle import default_model, embedded_model
from tools.doctor.page import page
from tools.doctor.report import HTML, JSON, read_report

SmallChest = Callable[[str], list[Path]]

LINES = (Path(__file__).resolve().parents[2] / "docs/doctor.md").read_text()

TIMED = frozenset(("Engine alone", "Throughput", "Last slice to flag", "fsync of the state disk"))
"""How fast the machine of the tests is says nothing of the product."""


def config_file(folder: Path) -> Path:
    (folder / "export").mkdir()
    file = folder / "site.yaml"
    file.write_text(
        f"export_folder: {folder}/export\nstate_folder: {folder}/state\nlisten: 127.0.0.1:0\n"
        f"model: {embedded_model('densitometry')}\n"
    )
    return file


def test_cases_without_limits_are_refused(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    done = scanlight("doctor", "--config", file, "--cases", tmp_path, "--min-sensitivity", "0.9")
    assert done.returncode == 2
    assert done.stderr == (
        "--cases, --labels, --min-sensitivity and --min-specificity go together: the limits are set before"
        " anybody sees a score.\n"
    )


def test_wrong_settings_are_told_in_sentences(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("export_folder: here\n")
    done = scanlight("doctor", "--config", file)
    assert done.returncode == 2
    assert "export_folder: must be an absolute path" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_other_folder_and_no_signed_report_is_written_over(tmp_path: Path) -> None:
    file, out = config_file(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("")
    done = scanlight("doctor", "--config", file, "--out", out)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{out} exists and is no report of scanlight doctor")
    (out / "thesis.txt").rename(out / "acceptance.json")
    done = scanlight("doctor", "--config", file, "--out", out)
    assert done.returncode == 2
    assert "was signed, which is kept" in done.stderr


def test_without_a_report_nothing_is_accepted(tmp_path: Path) -> None:
    file, out = config_file(tmp_path), tmp_path / "out"
    out.mkdir()
    done = scanlight("accept", out, "--name", "A. Physicist", "--config", file)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{out}/report.json: No such file or directory")


def labelled(folder: Path, small_chest: SmallChest) -> tuple[Path, Path]:
    """A folder of cases, and their labels."""
    with (folder / "labels.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(("path", "label"))
        for kind, label in (("covid", 1), ("clear", 0)):
            (folder / "cases" / kind).mkdir(parents=True)
            for one in small_chest(kind):
                shutil.copy(one, folder / "cases" / kind)
            table.writerow((kind, label))
    return folder / "cases", folder / "labels.csv"


SHORT = "import tools.doctor.speed as speed; speed.MINUTE_S = 5.0"
"""A minute of five seconds."""


def bands(site: Appliance) -> tuple[list[str], list[str]]:
    """The bands on the light, and why it is not accepted."""
    status: dict[str, Any] = site.status()
    return status["bands"], status["facts"]["not_accepted"]


@pytest.mark.slow
def test_from_the_test_beside_a_daemon_to_its_acceptance_and_out_of_it(
    tmp_path: Path, small_chest: SmallChest
) -> None:
    out = tmp_path / "report"
    cases, labels = labelled(tmp_path, small_chest)
    with Appliance(tmp_path, model=str(default_model())) as site:
        assert bands(site) == (["DEMO", "NOT ACCEPTED"], ["never_accepted"])
        codes = httpx.get(f"{site.url}/api/codes", timeout=5).json()
        assert codes["not_accepted"] == WHY_NOT
        before = sorted(path.name for path in site.state.iterdir())
        done = scanlight(
            *("doctor", "--config", site.config),
            *("--cases", str(cases), "--labels", str(labels), "--out", str(out)),
            *("--min-sensitivity", "0.9", "--min-specificity", "0.9"),
            changed=SHORT,
        )
        report = json.loads((out / "report.json").read_bytes())
        checks = {check["name"]: check for group in report["groups"] for check in group["checks"]}
        wrong = {name for name, check in checks.items() if check["verdict"] == "failed"}
        assert wrong <= TIMED, done.stdout
        assert done.returncode == (1 if wrong else 0), done.stdout + done.stderr
        assert {name for name, check in checks.items() if check["verdict"] == "not done"} <= {
            *("GPU", "Driver", "GPU memory", "FP16 against the CPU reference", "Sandbox of the service")
        }
        assert {name for name in checks if name not in LINES} == set()
        assert checks["Port of the page"]["measured"].endswith("the running Scanlight's")
        assert "1 of 1 positives flagged" in checks["Sensitivity on our own cases"]["measured"]
        not_passed = [check for check in checks.values() if check["verdict"] != "passed"]
        assert all(check["remedy"] for check in not_passed)
        assert all(f"  {check['name']}: {check['remedy']}" in done.stdout for check in not_passed)

        # The daemon has seen nothing of it, and nothing is left.
        assert sorted(path.name for path in site.state.iterdir()) == before
        assert list(site.export_folder.iterdir()) == []
        assert site.findings() == []
        assert 'files_total{kind="other"} 0.0' in httpx.get(f"{site.url}/metrics", timeout=5).text
        assert bands(site)[1] == ["never_accepted"]

        for check in checks.values():
            check["verdict"] = "passed" if check["name"] in TIMED else check["verdict"]
        (out / JSON).write_text(json.dumps(report))
        (out / HTML).write_text(page(*read_report(out), None))
        done = site.cli("accept", str(out), "--name", "A. Physicist", "--name", "B. IT")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Signed by A. Physicist, B. IT; report.json has the SHA-256 ")
        assert "Accepted without: GPU, Driver" in done.stdout
        site.wait("it is accepted", lambda: bands(site) == (["DEMO"], []), 10)
        assert "NOT ACCEPTED" not in site.cli("status").stdout
        assert site.stop() == 0
        audit = [json.loads(line) for line in site.cli("audit", "--json").stdout.splitlines()]
        (accepted,) = (one for one in audit if one["event"] == "accepted")
        assert accepted["names"] == ["A. Physicist", "B. IT"]

        site.start()
        site.wait("it is accepted after a new start", lambda: bands(site)[1] == [], 10)
        assert site.stop() == 0
        site.configure(model=str(embedded_model("densitometry")))
        site.start()
        site.wait("another model is not", lambda: bands(site)[1] == ["model_changed"], 10)
        assert "NOT ACCEPTED" in bands(site)[0]
        done = site.cli("accept", str(out), "--name", "A. Physicist")
        assert done.returncode == 1
        assert "its model is not the one that was tested" in done.stderr
        status = site.cli("status").stdout
        assert "its model is not the one that was accepted" in status
