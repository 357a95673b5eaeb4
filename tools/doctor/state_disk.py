"""The disk of the state folder: local, with room, and quick enough to keep what is written."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from appliance import durable
from appliance.config import Config
from appliance.intake.folder import FolderDown, mount_of
from tools.doctor.check import Check, failed, judged
from tools.doctor.own_folder import own_folder

FREE_GB: Final = 5.0
"""As the alert ScanlightDiskLow has it."""

FSYNC_MS: Final = 100.0
"""For a file that is kept (durable.py: two fsyncs) at the 95th percentile: a finding takes two of them and a
transaction, and is told within 2.5 s of the last slice."""

WRITES: Final = 40


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
    with own_folder(folder) as place:
        for number in range(WRITES):
            began = time.perf_counter()
            durable.write(place / str(number), bytes(4096))
            taken.append((time.perf_counter() - began) * 1000)
    return taken


@contextlib.contextmanager
def workplace(config: Config) -> Iterator[Path]:
    """A folder of the test's own: on the state disk, whose speed counts, if it takes any."""
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(own_folder(config.state_folder))
        except OSError:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scanlight-doctor-")))
        yield place
