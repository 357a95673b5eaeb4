"""Power cuts: a folder as a disk may hold it afterwards, with what was not synced dropped.

powerloss.c is preloaded into the daemon and writes down each operation on the files below a folder. From
that log the folder is rebuilt: the content of a file as of its last fsync, a name as of the last fsync of its
folder. A preloaded library because it needs a compiler and nothing else: a FUSE layer that drops its cache
(LazyFS), device mapper targets and virtual machines need root and a kernel that allows them, and see only one
cut a run. The log can be cut anywhere and lost in several ways; that it misses nothing is tested by
rebuilding with nothing lost.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from witness import Witness

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


def recording(library: Path, folder: Path, log: Path) -> dict[str, str]:
    """The environment that makes a process write down what it does below a folder."""
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


@dataclass(slots=True, eq=False)
class _File:
    """`safe` survives a power cut; `pending` are (offset, bytes) or (size, None) since."""

    safe: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _change(self.safe, *change)
        self.pending.clear()


@dataclass(slots=True, eq=False)
class _Folder:
    path: Path


_Node = _File | _Folder


def _change(content: bytearray, number: int, data: bytes | None) -> None:
    if data is None:
        del content[number:]
    content.extend(bytes(max(0, number - len(content))))
    if data is not None:
        content[number : number + len(data)] = data


class Disk:
    """A folder of which is known what would survive. What lies there at the beginning would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._nodes: dict[int, _Node] = {_inode(folder.parent): _Folder(folder.parent)}
        self._names: dict[Path, _Node] = {}
        self._pending: list[dict[Path, _Node | None]] = []
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                self._names[path] = self._nodes[_inode(path)] = _Folder(path)
            elif path.is_file():
                self._names[path] = self._nodes[_inode(path)] = _File(bytearray(path.read_bytes()))
        self._current = dict(self._names)

    def follow(self, steps: Iterable[Step]) -> None:
        """What a process did since."""
        for step in steps:
            self._follow(step, self._nodes.get(step.inode))

    def _follow(self, step: Step, node: _Node | None) -> None:
        match step.what, node:
            case "c", _:
                self._make(step, _File())
            case "d", _:
                self._make(step, _Folder(step.path))
            case "w", _File():
                node.pending.append((step.number, step.data))
            case "t", _File():
                node.pending.append((step.number, None))
            case "r", _:
                target = Path(os.fsdecode(step.data))
                self._current[target] = self._current.pop(step.path)
                self._pending.append({step.path: None, target: self._current[target]})
            case "u", _:
                self._current.pop(step.path, None)
                self._pending.append({step.path: None})
            case "s", _File():
                node.sync()
            case "s", _Folder():
                self._sync_folder(node.path)

    def _make(self, step: Step, node: _Node) -> None:
        self._current[step.path] = self._nodes[step.inode] = node
        self._pending.append({step.path: node})

    def _sync_folder(self, folder: Path) -> None:
        for change in self._pending:
            if any(path.parent == folder for path in change):
                self._settle(change)
        self._pending = [change for change in self._pending if all(path.parent != folder for path in change)]

    def _settle(self, change: dict[Path, _Node | None]) -> None:
        for path, node in change.items():
            if node is None:
                self._names.pop(path, None)
            else:
                self._names[path] = node

    def lose_nothing(self) -> None:
        """A process was killed, the machine ran on."""
        for change in self._pending:
            self._settle(change)
        for file in self._files():
            file.sync()

    def lose_some(self, chance: random.Random) -> None:
        """Some pages were written early, and names up to a moment, in their order, as file systems do."""
        for change in self._pending[: chance.randint(0, len(self._pending))]:
            self._settle(change)
        for file in self._files():
            for number, data in file.pending:
                for part in _pages(number, data):
                    if chance.random() < 0.5:
                        _change(file.safe, *part)

    def rebuild(self, folder: Path | None = None) -> None:
        """Write what survives, here or in place of another folder."""
        target = folder or self._folder
        shutil.rmtree(target, ignore_errors=True)
        for path in sorted(self._names):
            place, node = target / path.relative_to(self._folder), self._names[path]
            if not place.parent.exists():
                continue
            if isinstance(node, _File):
                place.write_bytes(node.safe)
            else:
                place.mkdir()

    def _files(self) -> Iterator[_File]:
        """Each file that has a name on the disk."""
        yield from (node for node in self._names.values() if isinstance(node, _File))


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


def lose_all(disk: Disk) -> None:
    """What was not synced is gone."""


class Machine:
    """Runs one life of a daemon after the other on a state folder, and may lose its power at the end of each.

    `lose` decides what becomes of what was not synced, `goes` whether the power goes at all: if not, what was
    not synced still may be lost later. Syncs that are not `believed` never took place.
    """

    def __init__(
        self,
        library: Path,
        *,
        lose: Callable[[Disk], None] = lose_all,
        goes: Callable[[], bool] = lambda: True,
        believed: Callable[[Step], bool] = lambda sync: True,
    ) -> None:
        self._library = library
        self._lose = lose
        self._goes = goes
        self._believed = believed
        self._disk: Disk | None = None

    @contextlib.contextmanager
    def life(self, state: Path, witness: Witness) -> Iterator[Mapping[str, str]]:
        """What the daemon needs in its environment; the power goes when it is dead."""
        disk, log = self._disk or Disk(state), state.with_name("steps")
        log.unlink(missing_ok=True)
        yield recording(self._library, state, log)
        with witness.away():
            disk.follow(step for step in read_log(log) if step.what != "s" or self._believed(step))
            self._disk = disk
            if self._goes():
                self._lose(disk)
                disk.rebuild()
                self._disk = None
