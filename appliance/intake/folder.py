"""The export folder: what lies in it, and whether it is still the same. Nothing in it is ever changed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from appliance.reasons import Reason
from appliance.records import Arrival, FileIdentity, Problem

NETWORK_FILE_SYSTEMS = frozenset(
    (
        "9p",
        "afs",
        "autofs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
        "virtiofs",
    )
)
"""Types in mountinfo on which inotify does not see what another machine writes."""


class FolderDown(Exception):
    """The export folder cannot be trusted at the moment; `code` for the light, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


MOUNTINFO = Path("/proc/self/mountinfo")


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
        return "\t".join(map(_escape, (self.source, self.kind, self.root)))


def mount_of(folder: Path, mountinfo: Path = MOUNTINFO) -> Mount:
    """The innermost mount over a folder; the last one listed wins where several are stacked."""
    mounts = _mounts(mountinfo)
    # By its name first: to follow links asks the file system, and a share that hangs does not answer.
    mount = _innermost(str(folder.absolute()), mounts)
    return mount if mount.is_network else _innermost(os.path.realpath(folder), mounts)


def is_polled(folder: Path, polling: str) -> bool:
    """Whether only rescans see its files: by the setting `polling`, with `auto` on a network share."""
    if polling != "auto":
        return polling == "on"
    try:
        return mount_of(folder).is_network
    except (FolderDown, OSError):
        return False


def real_path(folder: Path, mountinfo: Path = MOUNTINFO) -> Path:
    """A path without `..` and links, whether it exists or not; a share, which may hang, is not asked."""
    plain = os.path.normpath(folder)
    with contextlib.suppress(OSError, FolderDown):
        if not _innermost(plain, _mounts(mountinfo)).is_network:
            return Path(os.path.realpath(folder))
    return Path(plain)


def _innermost(path: str, mounts: list[Mount]) -> Mount:
    over = [one for one in mounts if path == one.point or path.startswith(one.point.rstrip("/") + "/")]
    if not over:
        raise FolderDown("export_folder_down", f"No mount holds {path}: check that /proc is available.")
    longest = max(len(one.point) for one in over)
    return [one for one in over if len(one.point) == longest][-1]


def _mounts(mountinfo: Path) -> list[Mount]:
    mounts = []
    for line in filter(None, mountinfo.read_text(encoding="utf-8", errors="surrogateescape").split("\n")):
        fields, _, tail = line.partition(" - ")
        root, point = (_unescape(field) for field in fields.split(" ")[3:5])
        kind, source = (_unescape(field) for field in tail.split(" ")[:2])
        mounts.append(Mount(point, source, kind, root))
    return mounts


_ESCAPES = (("\\", "\\134"), ("\t", "\\011"), ("\n", "\\012"), (" ", "\\040"))


def _escape(field: str) -> str:
    for character, code in _ESCAPES[:-1]:
        field = field.replace(character, code)
    return field


def _unescape(field: str) -> str:
    for character, code in reversed(_ESCAPES):
        field = field.replace(code, character)
    return field


def check(folder: Path, expected: str | None) -> str:
    """The signature of the mounts at and below a folder, one a line, to expect from now on.

    Raises FolderDown when the folder cannot be read, lies on another mount than expected, or lacks one of
    those that were mounted below it.
    """
    try:
        with os.scandir(folder):
            pass
    except OSError as error:
        raise FolderDown(
            "export_folder_down", f"The export folder {folder} cannot be read: {error.strerror}."
        ) from error
    root, *below = (expected or "").split("\n")
    for line in below:
        # What is mounted on demand is mounted by looking at it.
        with contextlib.suppress(OSError), os.scandir(folder / _place(line)):
            pass
    signatures = _signatures(folder)
    if root and root != signatures[0]:
        raise _unmounted(
            f"The export folder {folder} was on {_source(root)}, now on {_source(signatures[0])}"
        )
    for line in below:
        if line not in signatures:
            raise _unmounted(f"{folder / _place(line)} in the export folder was on {_source(line)}")
    return "\n".join(signatures)


def _unmounted(what: str) -> FolderDown:
    return FolderDown(
        "export_folder_unmounted",
        f"{what}: mount it again, or accept the change with scanlight run --accept-folder.",
    )


def _source(signature: str) -> str:
    return _unescape(signature.partition("\t")[0])


def _place(signature: str) -> str:
    return _unescape(signature.split("\t")[3])


def _signatures(folder: Path) -> list[str]:
    """Of the mount that the folder lies on, and of those below it, each with its place in the folder."""
    path = os.path.realpath(folder)
    mounts = _mounts(MOUNTINFO)
    below = {one.point: one for one in mounts if one.point.startswith(path.rstrip("/") + "/")}
    return [
        _innermost(path, mounts).signature,
        *(f"{below[point].signature}\t{_escape(os.path.relpath(point, path))}" for point in sorted(below)),
    ]


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in one folder: its regular files by name, each with its packed identity and when its inode
    last changed, and its folders.

    `odd` is what is neither: symbolic links that are not followed, pipes, sockets and devices.
    """

    names: list[str]
    identities: list[bytes]
    changed_ns: list[int]
    folders: list[str]
    odd: list[str]

    def arrivals(self, folder: Path, but: Mapping[str, bytes] = MappingProxyType({})) -> Iterator[Arrival]:
        """Its files but for those whose name and identity are in `but`."""
        for name, identity, changed_ns in zip(self.names, self.identities, self.changed_ns, strict=True):
            if but.get(name) != identity:
                yield Arrival(folder / name, FileIdentity.unpack(identity), changed_ns)


def _nothing(*_: object) -> None:
    pass


def listing(
    folder: Path,
    *,
    follow_links: bool = False,
    unreadable: Callable[[Path], None] = _nothing,
    answered: Callable[[], None] = _nothing,
) -> Listing:
    """Lists one folder; raises OSError where that cannot be.

    A name in it that the system says nothing of is told to `unreadable`; what vanishes is left out.
    `answered` is called with each name: a slow disk is not dead.
    """
    files: list[tuple[str, bytes, int]] = []
    folders: list[str] = []
    odd: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            answered()
            try:
                if entry.is_dir(follow_symlinks=follow_links):
                    folders.append(entry.name)
                elif entry.is_file(follow_symlinks=follow_links):
                    status = entry.stat(follow_symlinks=follow_links)
                    if stat.S_ISREG(status.st_mode):
                        files.append((entry.name, FileIdentity.of(status).pack(), status.st_ctime_ns))
                else:
                    odd.append(entry.name)
            except FileNotFoundError:
                continue
            except OSError:
                # A link that leads in circles is no file that somebody forgot to open.
                if not entry.is_symlink():
                    unreadable(Path(entry.path))
    files.sort()
    return Listing(
        [name for name, _, _ in files],
        [identity for _, identity, _ in files],
        [changed_ns for _, _, changed_ns in files],
        sorted(folders),
        sorted(odd),
    )


def scan(
    root: Path, *, follow_links: bool = False, unreadable: Callable[[Path], None] = _nothing
) -> Iterator[Arrival]:
    """Every regular file below a folder: the folder's own by their names, then those of each folder in it.

    Symbolic links count only with `follow_links` (a trusted tree, such as one that git-annex made); each
    folder is entered once. A folder below that cannot be listed is told to `unreadable`, unless it is
    the file system's own; a root that cannot raises OSError. What vanishes is left out.
    """
    pending = [root]
    entered: set[tuple[int, int]] = set()
    while pending:
        path = pending.pop()
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            found = listing(path, follow_links=follow_links, unreadable=unreadable)
        except OSError as error:
            if path == root:
                raise
            if not (isinstance(error, FileNotFoundError) or is_of_the_system(path)):
                unreadable(path)
            continue
        yield from found.arrivals(path)
        pending += [path / name for name in reversed(found.folders)]


def is_of_the_system(folder: Path) -> bool:
    """Whether a closed folder is the file system's own, which no exporter writes to."""
    return folder.name == "lost+found"


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
    return Arrival.of(path, status) if stat.S_ISREG(status.st_mode) else None


def odd(path: Path) -> tuple[Arrival, Problem] | None:
    """What is at a path where there is no regular file, and what to say of it; None when it is gone."""
    try:
        status = path.lstat()
    except OSError:
        return None
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for test, name in kinds if test(status.st_mode)), "a device")
    detail = f"It is {kind}, which is not opened: export the file itself."
    return Arrival.of(path, status), Problem(Reason.UNREADABLE, detail)
