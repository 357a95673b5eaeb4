"""The export folder, in which the test gives nothing a name, so that nobody finds it."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from watchdog.observers.inotify_c import InotifyConstants, inotify_add_watch, inotify_init

from appliance.config import Config
from appliance.intake.folder import FolderDown, Mount, check, is_polled, mount_of
from tools.doctor.check import Check, failed, judged, not_done

T = TypeVar("T")

ANSWER_S: Final = 10.0
EVENT_S: Final = 2.0
CLOCK_S: Final = 60.0
_NAMELESS: Final = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
_SHARES_MAKE_NONE: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
"""What open(2) says to O_TMPFILE where a file system has no files without a name."""

CLOCK: Final = "Clock of the export folder"
_CLOCK_LIMIT: Final = f"within {CLOCK_S:.0f} s of this machine's clock"
_LOOK: Final = (
    "nothing where it should only be read; else export a series from the scanner, and see its flag come"
)
_EVENTS: Final = "close events are seen, or the folder is polled"


def export_folder(config: Config) -> Iterator[Check]:
    folder = config.export_folder
    limit = "can be listed within 10 s"
    remedy = "mount it, or let the service's user list it: chmod o+rx, or an ACL"
    try:
        mount = within(ANSWER_S, lambda: _listed(folder))
    except TimeoutError:
        yield failed(
            "Export folder", f"{folder} does not answer", limit, "check the share, its server and the network"
        )
        return
    except (FolderDown, OSError) as error:
        yield failed("Export folder", str(error), limit, remedy)
        return
    where = "network share" if mount.is_network else "local"
    yield judged("Export folder", True, f"{where}: {mount.kind} from {mount.source}", limit, remedy)
    try:
        yield from within(ANSWER_S, lambda: list(_probes(config, mount)))
    except TimeoutError:
        yield failed("Close events", f"{folder} does not answer", _EVENTS, "check the share and the network")


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises; a file system may never answer. Raises TimeoutError."""
    done: list[T] = []
    wrong: list[BaseException] = []

    def attempt() -> None:
        try:
            done.append(work())
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if wrong:
        raise wrong[0]
    if not done:
        raise TimeoutError
    return done[0]


def _listed(folder: Path) -> Mount:
    check(folder, None)
    return mount_of(folder)


def _probes(config: Config, mount: Mount) -> Iterator[Check]:
    polls = is_polled(config.export_folder, config.polling)
    try:
        seen, behind_s = probe(config.export_folder)
    except OSError as error:
        why = _unwritten(error)
        yield _polled(mount, polls) or not_done("Close events", why, _EVENTS, _LOOK)
        yield not_done(CLOCK, why, _CLOCK_LIMIT, _LOOK)
        return
    yield _polled(mount, polls) or judged(
        "Close events",
        seen,
        "seen" if seen else "not seen",
        _EVENTS,
        "set polling: on, and look at fs.inotify.max_user_watches",
    )
    yield clock(behind_s)


def _polled(mount: Mount, polls: bool) -> Check | None:
    """Of a folder whose close events do not matter, or are never seen."""
    if polls:
        return judged("Close events", True, "the folder is polled", _EVENTS, "")
    if mount.is_network:
        why = "those of a network share are never seen, and polling is off"
        return failed("Close events", why, _EVENTS, "set polling: auto")
    return None


def clock(behind_s: float) -> Check:
    """By the time that the file system gave a new file."""
    return judged(
        CLOCK,
        abs(behind_s) <= CLOCK_S,
        f"{abs(behind_s):.1f} s apart",
        _CLOCK_LIMIT,
        "let both machines ask a time server: what is old at the installation is told by these times",
    )


def _unwritten(error: OSError) -> str:
    if error.errno in _SHARES_MAKE_NONE:
        return "this file system has no files without a name, and others are not put there"
    return f"nothing may be written there, as is right ({error.strerror})"


def probe(folder: Path) -> tuple[bool, float]:
    """Whether the close of a file that has no name is seen, and how far its time is behind ours in seconds.

    The file (O_TMPFILE, open(2)) is in no listing and gone when it is closed, however this process ends.
    Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(os.fdopen(os.open(folder, _NAMELESS, 0o600), "wb", buffering=0))
        hints = inotify_init()
        if hints >= 0:
            stack.callback(os.close, hints)
        path = os.fsencode(f"/proc/self/fd/{file.fileno()}")
        watched = hints >= 0 and inotify_add_watch(hints, path, InotifyConstants.IN_CLOSE_WRITE) >= 0
        file.write(b"scanlight doctor")
        behind_s = time.time() - os.fstat(file.fileno()).st_mtime
        file.close()
        return watched and bool(select.select([hints], [], [], EVENT_S)[0]), behind_s
