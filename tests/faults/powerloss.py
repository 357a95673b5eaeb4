"""Power cuts: a folder as a disk may hold it afterwards, with what was not synced dropped.

powerloss.c is preloaded into the daemon and writes down each operation on the files below a folder. From
that log the folder is rebuilt: the content of a file as of its last fsync, a name as of the last fsync of its
folder. A preloaded library because it needs a compiler and nothing else: a FUSE layer that drops its cache
(LazyFS), device mapper targets and virtual machines need root and a kernel that allows them, and see only one
cut a run. The log can be cut anywhere and lost in several ways; that it misses nothing is tested by
rebuilding with nothing lost.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = struct.Struct("=5Q")
PAGE = 4096


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: `what` is a letter of powerloss.c, `number` an offset or a size."""

    what: str
    inode: int
    number: int
    path: Path
    data: bytes


def build(folder: Path) -> Path:
    """Compile the library; needs cc."""
    library = folder / "powerloss.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(
        ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"],
        check=True,
    )
    return library


def environment(library: Path, folder: Path, log: Path) -> dict[str, str]:
    """What makes a process write down what it does below a folder."""
    return {"LD_PRELOAD": str(library), "POWERLOSS_FOLDER": str(folder), "POWERLOSS_LOG": str(log)}


def read_log(path: Path) -> Iterator[Step]:
    """The steps of a process; the last one may be cut short by its death."""
    content = path.read_bytes()
    start = 0
    while start + _HEAD.size <= len(content):
        what, inode, number, path_size, data_size = _HEAD.unpack_from(content, start)
        middle = start + _HEAD.size + path_size
        start = middle + data_size
        if start <= len(content):
            name = Path(os.fsdecode(content[middle - path_size : middle]))
            yield Step(chr(what), inode, number, name, content[middle:start])


@dataclass(slots=True)
class _File:
    """`safe` survives a power cut; `pending` are (offset, bytes) or (size, None) since."""

    safe: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _change(self.safe, *change)
        self.pending.clear()


def _change(content: bytearray, number: int, data: bytes | None) -> None:
    if data is None:
        del content[number:]
    content.extend(bytes(max(0, number - len(content))))
    if data is not None:
        content[number : number + len(data)] = data


Loss = Callable[["Disk"], None]
"""What becomes of what was not synced, in place."""


class Disk:
    """A folder of which is known what would survive. What lies there at the beginning would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folders = {_inode(folder.parent): folder.parent}
        self._files: dict[int, _File] = {}
        self._names: dict[Path, int] = {}
        self._pending: list[dict[Path, int | None]] = []
        for path in sorted((folder, *folder.rglob("*"))) if folder.exists() else ():
            self._names[path] = _inode(path)
            if path.is_dir():
                self._folders[_inode(path)] = path
            else:
                self._files[_inode(path)] = _File(bytearray(path.read_bytes()))

    def follow(self, steps: Iterable[Step]) -> None:
        """What a process did since."""
        current = dict(self._names)
        for step in steps:
            match step.what:
                case "c" | "d":
                    current[step.path] = step.inode
                    self._pending.append({step.path: step.inode})
                    if step.what == "c":
                        self._files[step.inode] = _File()
                    else:
                        self._folders[step.inode] = step.path
                case "w":
                    self._files[step.inode].pending.append((step.number, step.data))
                case "t":
                    self._files[step.inode].pending.append((step.number, None))
                case "r":
                    target = Path(os.fsdecode(step.data))
                    current[target] = current.pop(step.path)
                    self._pending.append({step.path: None, target: current[target]})
                case "u":
                    current.pop(step.path)
                    self._pending.append({step.path: None})
                case "s" if step.inode in self._files:
                    self._files[step.inode].sync()
                case "s" if step.inode in self._folders:
                    self._sync_folder(self._folders[step.inode])

    def _sync_folder(self, folder: Path) -> None:
        for change in self._pending:
            if any(path.parent == folder for path in change):
                self._settle(change)
        self._pending = [
            change for change in self._pending if all(path.parent != folder for path in change)
        ]

    def _settle(self, change: dict[Path, int | None]) -> None:
        for path, inode in change.items():
            if inode is None:
                self._names.pop(path, None)
            else:
                self._names[path] = inode

    def lose_nothing(self) -> None:
        """A process was killed, the machine ran on."""
        for change in self._pending:
            self._settle(change)
        for file in self._files.values():
            file.sync()

    def lose_some(self, chance: random.Random) -> None:
        """Some pages were written early, and names up to a moment, in their order, as file systems do."""
        for change in self._pending[: chance.randint(0, len(self._pending))]:
            self._settle(change)
        for file in self._files.values():
            for number, data in file.pending:
                for part in _pages(number, data):
                    if chance.random() < 0.5:
                        _change(file.safe, *part)

    def rebuild(self, folder: Path | None = None) -> None:
        """Write what survives, here or in place of another folder."""
        target = folder or self._folder
        shutil.rmtree(target, ignore_errors=True)
        for path, inode in sorted(self._names.items()):
            place = target / path.relative_to(self._folder)
            if not place.parent.exists():
                continue
            if inode in self._files:
                place.write_bytes(self._files[inode].safe)
            else:
                place.mkdir()


def _pages(offset: int, data: bytes | None) -> Iterator[tuple[int, bytes | None]]:
    """A write in the parts that a disk writes as one."""
    if data is None:
        yield offset, None
        return
    start = 0
    while start < len(data):
        end = start + PAGE - (offset + start) % PAGE
        yield offset + start, data[start:end]
        start = end


def _inode(path: Path) -> int:
    return path.stat().st_ino
