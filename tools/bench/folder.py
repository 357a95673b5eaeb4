"""scanlight bench folder: what it costs to look after an export folder with many old files in it."""

from __future__ import annotations

import json
import os
import queue
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from appliance.intake.folder import scan
from appliance.intake.watch import FilesSeen, OddSeen, Scanned, SentinelSeen, Watch
from appliance.records import FileIdentity

RESCAN_S: Final = 1.0
LONG_AGO_S: Final = 30 * 86400.0
FAILED: Final = 1


@dataclass(frozen=True, slots=True)
class Result:
    """`*_cpu_s` is the time of one core, `memory_mb` what the process takes more than before the first look.

    The look at all is a daemon's first one after a restart, at files of which it knows.
    """

    files: int
    folders: int
    missed_or_repeated: int
    first_look_s: float
    first_look_cpu_s: float
    look_at_all_s: float
    look_at_all_cpu_s: float
    look_at_folders_s: float
    look_at_folders_cpu_s: float
    memory_mb: float
    bytes_per_file: float
    hint_to_told_s: float
    look_to_told_s: float


def folder(
    files: Annotated[int, typer.Option(min=1, help="So many files.")] = 1_000_000,
    per_folder: Annotated[int, typer.Option(min=1, help="So many in each folder.")] = 500,
    into: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Make them in a folder of their own in here; default: where TMPDIR is.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Make a tree of old files and look after it as the daemon does.

    Prints what the first look, a look at all files and one at the folders alone take, how much memory the
    files take, and how soon a new file is told of. Exit 1 when a file is not told of exactly once.
    """
    with tempfile.TemporaryDirectory(prefix="scanlight-bench-", dir=into) as made:
        root = Path(made)
        folders = make_old(root, files, per_folder)
        result = measure(root, files, folders)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        table = Table("", f"{files:,} files in {folders:,} folders", box=None)
        for name, value in asdict(result).items():
            table.add_row(
                name.replace("_", " "), f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
            )
        Console().print(table)
    if result.missed_or_repeated:
        raise typer.Exit(FAILED)


def make_old(root: Path, files: int, per_folder: int) -> int:
    """Empty files under names as long as usual, in folders in which nothing happened for long."""
    long_ago = time.time() - LONG_AGO_S
    for start in range(0, files, per_folder):
        study = root / f"study-{start // per_folder:06d}"
        study.mkdir()
        for number in range(start, min(start + per_folder, files)):
            (study / f"1.2.840.113619.2.55.3.{number:08d}.dcm").touch()
        os.utime(study, (long_ago, long_ago))
    return -(-files // per_folder)


def measure(root: Path, files: int, folders: int) -> Result:
    before = _resident()
    with _watching(root, hints=True) as watching:
        first = watching.next_look()
        at_folders = watching.next_look()
        memory = _resident() - before
        hint_s = watching.until_told(root / "new by hint")
    with _watching(root, hints=False, known=_all_of(root)) as again:
        at_all = again.next_look()
        look_s = again.until_told(root / "new by look")
    return Result(
        files=files,
        folders=folders,
        missed_or_repeated=abs(watching.told - files - 1) + abs(again.told - 1),
        first_look_s=first.seconds,
        first_look_cpu_s=first.cpu_s,
        look_at_all_s=at_all.seconds,
        look_at_all_cpu_s=at_all.cpu_s,
        look_at_folders_s=at_folders.seconds,
        look_at_folders_cpu_s=at_folders.cpu_s,
        memory_mb=memory / 2**20,
        bytes_per_file=memory / files,
        hint_to_told_s=hint_s,
        look_to_told_s=look_s,
    )


def _all_of(root: Path) -> Iterator[tuple[str, FileIdentity, int]]:
    return ((str(one.path), one.identity, 0) for one in scan(root))


@dataclass(frozen=True, slots=True)
class _Look:
    seconds: float
    cpu_s: float


class _Watching:
    def __init__(self) -> None:
        self.told = 0
        self._looks: queue.SimpleQueue[_Look] = queue.SimpleQueue()
        self._last: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._spent_s = 0.0

    def post(self, message: FilesSeen | OddSeen | SentinelSeen | Scanned) -> None:
        """Called by the thread of the watch."""
        if isinstance(message, FilesSeen):
            self.told += len(message.arrivals)
            self._last.put(message.arrivals[-1].path)
        elif isinstance(message, Scanned):
            spent_s = time.thread_time() - self._spent_s
            self._spent_s += spent_s
            self._looks.put(_Look(message.at - message.began, spent_s))

    def next_look(self) -> _Look:
        return self._looks.get()

    def until_told(self, path: Path) -> float:
        written_at = time.monotonic()
        path.touch()
        while self._last.get() != path:
            pass
        return time.monotonic() - written_at


@contextmanager
def _watching(
    root: Path, *, hints: bool, known: Iterable[tuple[str, FileIdentity, int]] = ()
) -> Iterator[_Watching]:
    watching = _Watching()
    watch = Watch(
        root,
        watching.post,
        known=known,
        mount=None,
        bare=True,
        rescan_s=RESCAN_S,
        hints=hints,
        sentinel=None,
        not_on_record=lambda paths: (),
    )
    watch.start()
    try:
        yield watching
    finally:
        watch.stop()
        watch.join()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
