"""The documentation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import scanlight

from appliance.cli import COMMANDS
from appliance.reasons import MOVABLE, RULES, Reason

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
