"""The command in this process, without another start of Python for each of its sentences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import in_this_process
from paper_scores import write_csv, write_readers, write_scores

Words = str | Path


@pytest.fixture(scope="session")
def printed() -> Callable[..., str]:
    """What an evaluation that works prints, with few draws."""

    def run(*words: Words) -> str:
        done = in_this_process("evaluate", "--resamples", "100", *words)
        assert (done.exit_code, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.fixture(scope="session")
def evaluated(printed: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    """The JSON of an evaluation that works, with few draws."""

    def run(*words: Words) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(printed("--json", *words))
        return content

    return run


@pytest.fixture(scope="session")
def refused() -> Callable[..., str]:
    """The one sentence of an evaluation that is refused."""

    def run(*words: Words) -> str:
        done = in_this_process("evaluate", *words)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        return done.stderr.strip()

    return run


@pytest.fixture(scope="session")
def table_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores with the counts of the paper's Table 3."""
    return write_scores(tmp_path_factory.mktemp("paper") / "scores.csv")


@pytest.fixture(scope="session")
def radiologists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_readers(tmp_path_factory.mktemp("paper") / "readers.csv")


@pytest.fixture
def scores(tmp_path: Path) -> Callable[..., Path]:
    """A CSV of (probability, label) and whatever other columns."""

    def write(rows: list[tuple[object, object]], name: str = "scores.csv", **columns: list[object]) -> Path:
        table = [{"probability": score, "label": label} for score, label in rows]
        for number, row in enumerate(table):
            row |= {column: values[number] for column, values in columns.items()}
        return write_csv(tmp_path / name, table)

    return write
