"""The export folder and the state disk. In the export folder nothing gets a name, so that nobody finds it."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from watchdog.observers.inotify_c import InotifyConstants, inotify_add_watch, inotify_init

from appliance import durable
from appliance.config import Config
from appliance.intake.folder import FolderDown, Mount, check, mount_of
from appliance.state_folder import StateFolder
from tools.doctor.check import Check, failed, judged, not_done

T = TypeVar("T")

ANSWER_S: Final = 10.0
EVENT_S: Final = 2.0
CLOCK_S: Final = 60.0
FREE_GB: Final = 5.0
"""As the alert ScanlightDiskLow has it."""

FSYNC_MS: Final = 100.0
"""For a file that is kept (durable.py: two fsyncs) at the 95th percentile: a finding takes two of them and a
transaction, and is told within 2.5 s of the last slice."""

WRITES: Final = 40
_NAMELESS: Final = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
_SHARES_MAKE_NONE: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
"""What open(2) says to O_TMPFILE where a file system has no files without a name."""

_REMOTE: Final = "no close events on a network share: the folder is polled"
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
    polls = config.polling == "on" or (config.polling == "auto" and mount.is_network)
    clock_limit = f"within {CLOCK_S:.0f} s of this machine's clock"
    try:
        seen, behind_s = probe(config.export_folder)
    except OSError as error:
        why = _unwritten(error)
        if mount.is_network:
            yield judged(
                "Close events",
                polls,
                _REMOTE if polls else "none, and polling is off",
                _EVENTS,
                "set polling: auto",
            )
        else:
            yield not_done("Close events", why, _EVENTS)
        yield not_done("Clock of the export folder", why, clock_limit)
        return
    if mount.is_network:
        yield judged(
            "Close events",
            polls,
            _REMOTE if polls else "none, and polling is off",
            _EVENTS,
            "set polling: auto",
        )
    else:
        yield judged(
            "Close events",
            seen or polls,
            "seen" if seen else "not seen: the folder is polled" if polls else "not seen",
            _EVENTS,
            "set polling: on, and look at fs.inotify.max_user_watches",
        )
    yield judged(
        "Clock of the export folder",
        abs(behind_s) <= CLOCK_S,
        f"{abs(behind_s):.1f} s apart",
        clock_limit,
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


def state_disk(config: Config) -> Iterator[Check]:
    folder = config.state_folder
    try:
        mount = mount_of(folder)
        status = os.statvfs(folder)
        taken_ms = writes(folder)
    except (FolderDown, OSError) as error:
        why = str(error) if isinstance(error, FolderDown) else f"{folder}: {error.strerror}"
        yield failed(
            "State disk",
            why,
            "a local disk that takes writes",
            "let the service's user write there, and look at the disk",
        )
        return
    yield judged(
        "State disk",
        not mount.is_network,
        f"{mount.kind} on {mount.source}",
        "a local disk that takes writes",
        "name a folder on a local disk as state_folder: locks and fsync cannot be trusted on a share",
    )
    free_gb = status.f_bavail * status.f_frsize / 1e9
    yield judged(
        "Room on the state disk",
        free_gb >= FREE_GB,
        f"{free_gb:.1f} GB free",
        f"at least {FREE_GB:g} GB",
        "make room, or keep images for fewer days (keep_images_days)",
    )
    p95 = float(np.percentile(taken_ms, 95))
    yield judged(
        "fsync of the state disk",
        p95 <= FSYNC_MS,
        f"median {np.median(taken_ms):.1f} ms, 95 % {p95:.1f} ms, slowest {max(taken_ms):.1f} ms a file kept",
        f"95 % within {FSYNC_MS:.0f} ms",
        "put the state folder on a solid-state disk, and look at the disk's health (smartctl)",
    )


def writes(folder: Path) -> list[float]:
    """Milliseconds that each of some files took to be kept; they are gone afterwards. Raises OSError."""
    taken = []
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as place:
        for number in range(WRITES):
            began = time.perf_counter()
            durable.write(Path(place) / str(number), bytes(4096))
            taken.append((time.perf_counter() - began) * 1000)
    return taken


def workplace(config: Config) -> Path | None:
    """Where the test has its own folders: on the state disk, whose speed counts; None for anywhere."""
    state = StateFolder(config.state_folder).path
    return state if os.access(state, os.W_OK | os.X_OK) else None
