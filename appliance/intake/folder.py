"""The export folder: what lies in it, and whether it is still the same. Nothing in it is ever changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.reasons import Reason
from appliance.records import Arrival, FileIdentity, Problem

NETWORK_FILE_SYSTEMS = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs", "virtiofs")
)
"""Types in mountinfo on which inotify does not see what another machine writes."""


class FolderDown(Exception):
    """The export folder cannot be trusted at the moment; `code` for the light, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Mount:
    """The mount that a folder lies on, as in /proc/self/mountinfo (proc_pid_mountinfo(5))."""

    point: str
    source: str
    kind: str
    root: str

    @property
    def is_network(self) -> bool:
        return self.kind in NETWORK_FILE_SYSTEMS

    @property
    def signature(self) -> str:
        """What must stay the same: an unmounted share is an empty folder on another mount."""
        return "\t".join((self.source, self.kind, self.root))


def mount_of(folder: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> Mount:
    """The innermost mount over a folder; the last one listed wins where several are stacked."""
    target = os.path.realpath(folder)
    best: Mount | None = None
    for line in mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields, _, tail = line.partition(" - ")
        root, point = (_unescape(field) for field in fields.split(" ")[3:5])
        kind, source = (_unescape(field) for field in tail.split(" ")[:2])
        inside = point == "/" or target == point or target.startswith(point + "/")
        if inside and (best is None or len(point) >= len(best.point)):
            best = Mount(point, source, kind, root)
    if best is None:
        raise FolderDown("export_folder_down", f"No mount holds {folder}: check that /proc is available.")
    return best


def _unescape(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def check(folder: Path, expected: str | None) -> Mount:
    """The folder's mount; raises FolderDown when it is not a readable folder on the expected mount."""
    try:
        with os.scandir(folder):
            pass
    except OSError as error:
        raise FolderDown(
            "export_folder_down", f"The export folder {folder} cannot be read: {error.strerror}."
        ) from error
    mount = mount_of(folder)
    if expected is not None and mount.signature != expected:
        raise FolderDown(
            "export_folder_unmounted",
            f"The export folder {folder} was on {expected.split(chr(9))[0]} and is now on {mount.source}:"
            " mount it again, or accept the new one with scanlight run --accept-folder.",
        )
    return mount


def scan(
    root: Path, *, follow_links: bool = False, unreadable: Callable[[Path], None] = lambda path: None
) -> Iterator[Arrival]:
    """Every regular file below a folder, depth first, in the order of their names.

    Symbolic links count only with `follow_links` (a trusted tree, such as one that git-annex made); each
    folder is then entered once. A folder below that cannot be listed is told to `unreadable`, unless it is
    the file system's own lost+found; a root that cannot raises OSError. What vanishes is left out.
    """
    return _scan(root, follow_links, unreadable, {os.path.realpath(root)})


def _scan(
    root: Path, follow_links: bool, unreadable: Callable[[Path], None], entered: set[str]
) -> Iterator[Arrival]:
    with os.scandir(root) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        path = Path(entry.path)
        try:
            status = entry.stat(follow_symlinks=follow_links)
            if stat.S_ISREG(status.st_mode):
                yield Arrival(path, FileIdentity.of(status))
            elif stat.S_ISDIR(status.st_mode) and (real := os.path.realpath(path)) not in entered:
                entered.add(real)
                yield from _scan(path, follow_links, unreadable, entered)
        except FileNotFoundError:
            continue
        except OSError:
            # A link that leads in circles is no folder that somebody forgot to open.
            if not entry.is_symlink() and entry.name != "lost+found":
                unreadable(path)


def unreadable(error: OSError) -> Problem:
    """What to say of a file that the system does not let be read."""
    why = error.strerror or type(error).__name__
    return Problem(Reason.UNREADABLE, f"The file cannot be read ({why}): check its permissions and the disk.")


def arrival(path: Path) -> Arrival | None:
    """The file at a path as it is now; None where there is no regular file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return Arrival(path, FileIdentity.of(status)) if stat.S_ISREG(status.st_mode) else None
