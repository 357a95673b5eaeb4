"""The documentation says what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from command import scanlight

from appliance.cli import COMMANDS
from appliance.metrics import FILE_KINDS
from appliance.reasons import MOVABLE, RULES, Reason
from engines.bundle import embedded_model, load_model
from engines.runner import open_engine

ROOT = Path(__file__).resolve().parent.parent


def test_every_reason_has_its_row_with_its_outcome() -> None:
    rows = {
        match[1]: (match[3], bool(match[2]))
        for match in re.finditer(
            r"^\| `(\w+)`( \\\*)? \| ([a-z ]+) \|", (ROOT / "docs/inputs.md").read_text(), re.M
        )
    }
    expected = {
        reason.value: (rule.outcome.replace("_", " "), reason in MOVABLE) for reason, rule in RULES.items()
    }
    assert rows == expected
    assert set(RULES) == set(Reason)


def test_every_kind_of_file_has_its_row() -> None:
    _, _, table = (ROOT / "docs/monitoring.md").read_text().partition("| `kind` of a file |")
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.M)) == FILE_KINDS


def test_every_page_is_named_by_the_first_one() -> None:
    named = re.findall(r"\]\((docs/[a-z-]+\.md)\)", (ROOT / "README.md").read_text())
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} == set(named)


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md")))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_architecture_names_real_modules() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    for path in re.findall(r"`((?:appliance|engines|tools)/[\w/]*(?:\.py)?)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    done = scanlight(*words, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_the_physicists_model_is_one(tmp_path: Path) -> None:
    """The example as it stands, with a network of its names in front of it."""
    text = (ROOT / "docs/for-physicists.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    network = onnx.load(embedded_model("densitometry"))
    del network.metadata_props[:]
    onnx.save(network, tmp_path / "network.onnx")
    (tmp_path / "example.py").write_text(example)
    subprocess.run([sys.executable, "example.py"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True)
    model = load_model(tmp_path / "my-network.onnx")
    assert (model.spec.name, model.spec.operating_point) == ("my-network", 0.5)
    with closing(open_engine(model, "cpu")) as engine:
        assert 0 <= engine.infer(np.full(model.spec.grid.size, -1000, np.float32)).probability <= 1


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md")))
def test_no_page_calls_a_study_negative(page: Path) -> None:
    """Prioritisation only: a study without a flag stays in the standard of care."""
    text = re.sub(r"(?i)no flag is not a\s+negative result", "", page.read_text())
    assert not re.search(r"(?i)\bnegative (result|stud|scan|finding|case)", text)
