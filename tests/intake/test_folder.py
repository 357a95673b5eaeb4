import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.intake import folder

MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:50 / /srv/ct\\040export rw,relatime shared:2 - nfs4 pacs:/export rw,vers=4.2
41 22 8:2 /sub /srv/other rw,relatime - xfs /dev/sdb1 rw
"""


@pytest.fixture
def mountinfo(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTINFO)
    return path


def test_links_are_followed_but_on_a_share(tmp_path: Path) -> None:
    local, share = tmp_path / "local", tmp_path / "share"
    for place in (local, share):
        (place / "real").mkdir(parents=True)
        (place / "link").symlink_to("real")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n70 22 0:50 / {share} rw - nfs4 filer:/export rw\n"
    )
    assert folder.real_path(local / "link" / "none" / ".." / "other", mounts) == local / "real" / "other"
    assert folder.real_path(share / "none" / ".." / "link", mounts) == share / "link"
    assert folder.real_path(local / "none" / ".." / "link", tmp_path / "missing") == local / "link"


def test_the_innermost_mount_is_found_with_escaped_names(mountinfo: Path) -> None:
    mount = folder.mount_of(Path("/srv/ct export/room1"), mountinfo)
    assert mount == folder.Mount("/srv/ct export", "pacs:/export", "nfs4", "/")
    assert mount.is_network
    assert folder.mount_of(Path("/srv/ct exports"), mountinfo).point == "/"
    assert folder.mount_of(Path("/srv/other"), mountinfo).signature == "/dev/sdb1\txfs\t/sub"


def test_a_folder_on_another_mount_is_down(tmp_path: Path) -> None:
    expected = folder.check(tmp_path, None)
    assert folder.check(tmp_path, expected) == expected
    with pytest.raises(folder.FolderDown, match="was on pacs:/export, now on") as raised:
        folder.check(tmp_path, "pacs:/export\tnfs4\t/")
    assert raised.value.code == "export_folder_unmounted"


def test_a_missing_folder_is_down(tmp_path: Path) -> None:
    with pytest.raises(folder.FolderDown, match="No such file") as raised:
        folder.check(tmp_path / "missing", None)
    assert raised.value.code == "export_folder_down"


def test_only_regular_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    assert [one.path for one in folder.scan(tmp_path)] == [tmp_path / "a", tmp_path / "b" / "2"]
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "other").symlink_to(tmp_path / "b")
    closed: list[Path] = []
    trusted = [one.path.name for one in folder.scan(tmp_path, follow_links=True, unreadable=closed.append)]
    assert trusted == ["a", "link", "2"], "each file once, though links lead to it in circles"
    assert closed == []


def test_a_closed_folder_hides_nothing_beside_it(tmp_path: Path) -> None:
    for name in ("a", "lost+found", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"1")
    script = (
        "import os, sys; from pathlib import Path; from appliance.intake import folder\n"
        "os.seteuid(65534) if os.geteuid() == 0 else None\n"
        "root = Path(sys.argv[1]); closed = []\n"
        "print([str(f.path.relative_to(root)) for f in folder.scan(root, unreadable=closed.append)])\n"
        "print([path.name for path in closed])"
    )
    # Another user must get as far as the folder itself.
    for path in (tmp_path, *tmp_path.parents[:-1]):
        if path.stat().st_uid == os.getuid() and not path.stat().st_mode & stat.S_ISVTX:
            path.chmod(0o755)
    for name in ("a", "lost+found"):
        (tmp_path / name).chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False
    )
    for name in ("a", "lost+found"):
        (tmp_path / name).chmod(0o755)
    assert done.stdout.splitlines() == ["['z/x']", "['a']"], done.stderr


def test_an_arrival_tells_a_changed_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1")
    before = folder.arrival(path)
    assert before == folder.arrival(path)
    path.write_bytes(b"12")
    assert folder.arrival(path) != before
    path.unlink()
    assert folder.arrival(path) is None
