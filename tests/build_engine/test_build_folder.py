"""A bundle's folder is there as a whole or not at all, and takes no other's place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import built_networks as networks
import pytest

from engines.bundle import load_model, write_manifest
from tools.build_engine.folder import bundle_folder, check_free
from tools.problem import WrongInput
from tools.whole_folder import whole

HERE = Path(__file__).resolve().parent


def write(folder: Path, name: str, replace: bool = False) -> None:
    """A bundle without a plan."""
    source = networks.source(networks.network(), folder.parent)
    with bundle_folder(folder, replace) as made:
        (made / name).write_bytes(source.file.content)
        write_manifest(made, name, source.spec)


def test_it_is_a_bundle_and_nothing_is_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "bundle", "model.onnx")
    assert load_model(tmp_path / "bundle").spec == networks.SPEC
    assert (tmp_path / "bundle").stat().st_mode & 0o777 == 0o755
    assert {one.name for one in tmp_path.iterdir()} == {"bundle", "small.onnx"}


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with bundle_folder(tmp_path / "bundle", replace=False) as made:
            (made / "model.onnx").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_no_bundle(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tools.build_engine.folder import bundle_folder\n"
        "with bundle_folder(Path(sys.argv[1]), False) as made:\n"
        "    (made / 'model.onnx').write_bytes(b'half'); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "bundle"], check=False)
    assert done.returncode == 9
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_is_replaced_on_request_alone(tmp_path: Path) -> None:
    write(tmp_path / "bundle", "old.onnx")
    with pytest.raises(WrongInput, match="replace it with --replace"):
        check_free(tmp_path / "bundle", replace=False)
    write(tmp_path / "bundle", "new.onnx", replace=True)
    assert load_model(tmp_path / "bundle").path.name == "new.onnx"
    assert {one.name for one in tmp_path.iterdir()} == {"bundle", "small.onnx"}


def test_an_error_while_replacing_leaves_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "bundle", "old.onnx")
    with pytest.raises(RuntimeError), bundle_folder(tmp_path / "bundle", replace=True):
        raise RuntimeError
    assert load_model(tmp_path / "bundle").path.name == "old.onnx"


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "bundle", "old.onnx")
    with pytest.raises(FileNotFoundError), whole(tmp_path / "bundle") as made:
        made.rmdir()
    assert load_model(tmp_path / "bundle").path.name == "old.onnx"
    assert {one.name for one in tmp_path.iterdir()} == {"bundle", "small.onnx"}


@pytest.mark.parametrize("renames", [1, 2])
def test_a_kill_while_replacing_leaves_the_old_one_or_the_new_one(tmp_path: Path, renames: int) -> None:
    """Python tells of a rename before it is made: of the second, the first is done."""
    write(tmp_path / "bundle", "old.onnx")
    code = (
        "import os, sys; from pathlib import Path; from test_build_folder import write\n"
        "seen = []\n"
        "def kill(event, given):\n"
        "    seen.extend([1] * (event == 'os.rename'))\n"
        "    len(seen) >= int(sys.argv[2]) and os._exit(9)\n"
        "sys.addaudithook(kill)\n"
        "write(Path(sys.argv[1]), 'new.onnx', replace=True)"
    )
    found = os.pathsep.join(map(str, (HERE.parents[1], HERE)))
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "bundle", str(renames)],
        check=False,
        env={**os.environ, "PYTHONPATH": found},
    )
    assert load_model(tmp_path / "bundle").path.name in ("old.onnx", "new.onnx")


def test_where_two_names_cannot_be_exchanged_one_goes_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.whole_folder._RENAME_EXCHANGE", 1 << 30)
    write(tmp_path / "bundle", "old.onnx")
    write(tmp_path / "bundle", "new.onnx", replace=True)
    assert load_model(tmp_path / "bundle").path.name == "new.onnx"
    assert {one.name for one in tmp_path.iterdir()} == {"bundle", "small.onnx"}


def test_a_bundle_is_made_in_no_other_bundle(tmp_path: Path) -> None:
    write(tmp_path / "bundle", "old.onnx")
    with pytest.raises(WrongInput, match="lies in a bundle"):
        check_free(tmp_path / "bundle" / "inside", replace=False)


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    write(tmp_path / ("b" * 255), "model.onnx")
    with pytest.raises(OSError, match="too long"):
        check_free(tmp_path / ("b" * 256), replace=False)


def test_what_is_no_bundle_stays(tmp_path: Path) -> None:
    write(tmp_path / "bundle", "model.onnx")
    (tmp_path / "photos").mkdir()
    (tmp_path / "file").write_text("a letter")
    (tmp_path / "link").symlink_to(tmp_path / "bundle")
    for name in ("photos", "file", "link"):
        with pytest.raises(WrongInput, match="is no bundle"):
            check_free(tmp_path / name, replace=True)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WrongInput, match="is no folder: make it"):
        check_free(tmp_path / "nowhere" / "bundle", replace=False)
