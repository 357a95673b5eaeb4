"""What bash completes of a line, with the script that the command prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import scanlight

from appliance.cli import COMMANDS


def completed(line: str, folder: Path, name: str = "scanlight") -> list[str]:
    """What bash offers at the end of a line, as it asks the function that `complete` names."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash: apt-get install bash")
    (folder / "script").write_text(scanlight("completion", "bash").stdout)
    program = folder / "scanlight"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m appliance "$@"\n')
    program.chmod(0o755)
    asked = """
        source "$1/script"
        read -r _ _ _ _ function _ <<<"$(complete -p scanlight)"
        IFS=" " read -ra COMP_WORDS <<<"$2"
        [[ $2 == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$2 COMP_POINT=${#2}
        "$function" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        [bash, "--norc", "-c", asked, "bash", folder, f"{name}{line}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_their_own_and_options(tmp_path: Path) -> None:
    assert completed(" st", tmp_path) == ["status"]
    assert set(completed(" ", tmp_path)) == {name[0] for name in COMMANDS}
    assert completed(" config dr", tmp_path) == ["drop-in"]
    assert completed(" status --j", tmp_path) == ["--json"]
    assert set(completed(" list --", tmp_path)) == {"--config", "--state", "--json", "--limit", "--help"}
    assert completed(" completion ", tmp_path) == ["bash", "zsh", "fish"]


def test_a_program_that_is_called_by_its_path_completes_too(tmp_path: Path) -> None:
    assert completed(" st", tmp_path, name=f"{tmp_path}/scanlight") == ["status"]


@pytest.mark.parametrize(
    ("shell", "says"), [("bash", "complete -o default"), ("zsh", "#compdef scanlight"), ("fish", "complete ")]
)
def test_each_shell_gets_its_script(shell: str, says: str) -> None:
    done = scanlight("completion", shell)
    assert done.returncode == 0
    assert says in done.stdout


def test_another_shell_is_a_usage_error() -> None:
    done = scanlight("completion", "tcsh")
    assert done.returncode == 2
    assert "bash" in done.stderr
