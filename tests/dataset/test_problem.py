"""What ends a command of the tools."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import typer

from appliance import durable
from tools.problem import WrongInput, one_sentence

ADVICE = "Check the path, its permissions and the room on its disk.\n"


def test_a_wrong_input_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, one_sentence():
        raise WrongInput("What is wrong.")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == "What is wrong.\n"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), one_sentence():
        (tmp_path / "gone.dcm").read_bytes()
    assert capsys.readouterr().err == f"{tmp_path}/gone.dcm: No such file or directory. {ADVICE}"


def test_a_file_that_cannot_be_written_is_named_as_the_user_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit), one_sentence():
        durable.write(tmp_path / "no" / "model.onnx", b"")
    assert capsys.readouterr().err == f"{tmp_path}/no/model.onnx: No such file or directory. {ADVICE}"


def test_an_error_without_a_file_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    for error, said in (
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (OSError("half a file"), "half a file"),
    ):
        with pytest.raises(typer.Exit), one_sentence():
            raise error
        assert capsys.readouterr().err == f"{said}. {ADVICE}"
