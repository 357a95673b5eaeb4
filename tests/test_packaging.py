"""The wheel works outside of the checkout, and its import names are its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"appliance", "engines", "tools"}


def test_no_locked_distribution_brings_our_import_names() -> None:
    names = re.findall(r"^([a-z0-9_.-]+)==", (ROOT / "requirements.lock").read_text(), re.M)
    assert len(names) > 20
    looked_at = 0
    for name in names:
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:
            continue  # locked for another platform or Python
        looked_at += 1
        assert not OURS & {file.parts[0] for file in files}, name
    assert looked_at > 20


def test_every_locked_distribution_has_hashes() -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements.lock").read_text().strip())
    for block in blocks:
        assert "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.slow
def test_the_wheel_reads_a_chest_outside_of_the_checkout(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path,
            ROOT,
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("scanlight-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert {name.split("/")[0] for name in names if not name.startswith("scanlight-")} == OURS
    assert_the_pages_are_there(set(names))
    assert_every_model_has_its_known_answers(names)
    script = (
        "import appliance.known_answers as k, engines, tools; print(k.__file__); print(k.SERIES);"
        "import sys; sys.argv = ['scanlight', 'read', '--json', str(k.SERIES)];"
        "from appliance.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    module, series, *records = done.stdout.splitlines()
    assert module.startswith(str(site))
    assert series.startswith(str(site))
    assert len(records) == 2


def assert_every_model_has_its_known_answers(names: list[str]) -> None:
    models = {Path(name).stem for name in names if re.fullmatch(r"engines/models/.+\.onnx", name)}
    answers = {Path(name).stem for name in names if re.fullmatch(r"appliance/known_answers/.+\.json", name)}
    assert models == answers != set()


def assert_the_pages_are_there(names: set[str]) -> None:
    """People on site have the wheel alone: every page, its pictures, and what an alert names."""
    data = next(name.partition("/")[0] for name in names if ".data/" in name) + "/data/share"
    pages = [page for page in (ROOT / "docs").iterdir() if page.is_file()]
    assert len(pages) > 15
    assert {f"{data}/doc/scanlight/{page.name}" for page in pages} <= names
    rules = (ROOT / "monitoring/scanlight.rules.yml").read_text()
    for runbook in set(re.findall(r"runbook: docs/([^#\s]+)", rules)):
        assert f"{data}/doc/scanlight/{runbook}" in names
