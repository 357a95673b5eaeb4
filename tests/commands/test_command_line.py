"""The command line as a process: what it prints, and how it ends."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import yaml
from command import scanlight


def test_the_version() -> None:
    assert scanlight("--version").stdout == f"scanlight {version('scanlight')}\n"


def test_the_example_passes_the_check(tmp_path: Path) -> None:
    example = scanlight("config", "example").stdout
    file = tmp_path / "scanlight.yaml"
    file.write_text(example)
    done = scanlight("config", "check", file)
    assert (done.returncode, done.stdout) == (0, f"{file}: valid.\n")


def test_the_check_prints_every_mistake_and_exits_with_2(tmp_path: Path) -> None:
    file = tmp_path / "scanlight.yaml"
    file.write_text("export_folder: x\nworkers: 0\n")
    done = scanlight("config", "check", file)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 3
    assert scanlight("config", "check", tmp_path / "missing.yaml").returncode == 2


def test_the_schema_knows_the_settings_of_the_example() -> None:
    schema = json.loads(scanlight("config", "schema").stdout)
    assert yaml.safe_load(scanlight("config", "example").stdout).keys() <= schema["properties"].keys()


def test_a_daemon_that_cannot_start_says_why_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "scanlight.yaml"
    text = f"export_folder: {tmp_path / 'export'}\nstate_folder: {tmp_path / 'state'}\n"
    for more, says in (
        (f"model: {tmp_path / 'missing.onnx'}\n", "cannot be read"),
        ("metrics_listen: 192.0.2.1:80\n", "choose an address of this machine"),
        (f"results_folder: {tmp_path / 'export' / 'results'}\n", "must not lie in export_folder"),
    ):
        file.write_text(text + more)
        done = scanlight("run", "--config", file)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr
        assert len([line for line in done.stderr.splitlines() if not line.startswith("{")]) == 1


def test_list_and_show_without_a_journal_say_what_to_name(tmp_path: Path) -> None:
    for words in (("list",), ("list", "--state", tmp_path), ("show", "1.2", "--state", tmp_path)):
        done = scanlight(*words)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1


def test_an_unknown_command_is_a_usage_error() -> None:
    assert scanlight("nonsense").returncode == 2
    assert scanlight("config", "nonsense").returncode == 2
