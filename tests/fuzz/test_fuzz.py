"""The fuzzer finds nothing in two minutes, and would find what is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from fuzz.seeds import seeds
from fuzz.target import Target

HERE = Path(__file__).resolve().parent
ATHERIS = "needs atheris: pip install 'scanlight[fuzz]' with Python 3.11 to 3.13 on x86-64 Linux"
PLANTED = """
from appliance.imaging import eligibility

def image_type(headers, judge=eligibility.image_type):
    assert {header.modality for header in headers} == {"CT"}, "planted"
    return judge(headers)

eligibility.image_type = image_type
"""
REFUSED = {"no-pixels.dcm": "damaged_pixels", "frames.dcm": "unsupported_syntax"}


def fuzz(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, HERE, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
def test_two_minutes_of_fuzzing_find_nothing(tmp_path: Path) -> None:
    if find_spec("atheris") is None:
        pytest.skip(ATHERIS)
    done = fuzz("--seconds", 120, "--findings", tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-5000:]}"
    guided = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    pooled = re.search(r"^(\d+) files, seed \d+, 0 findings", done.stdout, re.M)
    assert guided is not None
    assert pooled is not None
    assert int(guided[1]) > 500
    assert int(pooled[1]) > 100


def test_seeds_are_made_by_a_command_and_are_read(tmp_path: Path) -> None:
    done = fuzz("--seeds", tmp_path / "corpus")
    assert done.returncode == 0, done.stderr
    target = Target(tmp_path)
    for name, data in seeds():
        assert (tmp_path / "corpus" / name).read_bytes() == data
        assert target.read(data) == REFUSED.get(name, "read"), name


@pytest.mark.parametrize("part", ["guided", "pooled"])
def test_a_planted_defect_is_found_and_its_file_kept(part: str, tmp_path: Path) -> None:
    if part == "guided" and find_spec("atheris") is None:
        pytest.skip(ATHERIS)
    (tmp_path / "sitecustomize.py").write_text(PLANTED)
    findings = tmp_path / "findings"
    findings.mkdir()
    words = ["--part", part, "--corpus", tmp_path / "corpus", "--findings", findings, "--seconds", 60]
    done = fuzz(*words, PYTHONPATH=f"{tmp_path}:{HERE.parents[1]}")
    assert done.returncode != 0
    assert "planted" in done.stderr + done.stdout
    assert list(findings.iterdir())
