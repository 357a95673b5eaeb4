"""A wall clock that can be set, for one process: a preloaded library adds to what clock_gettime(2) says.

libfaketime would do, but 0.9.10 lets Python's time.sleep fail when it is to leave the monotonic clock alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MISSING: Final = "not run: apt-get install gcc libc6-dev"

_SOURCE: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static const volatile int64_t *ahead;

__attribute__((constructor)) static void attach(void) {
    int file = open(getenv("CLOCK_AHEAD"), O_RDONLY | O_CLOEXEC);
    ahead = mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*original)(clockid_t, struct timespec *);
    if (!original) original = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = original(clock, now);
    if (!failed && clock == CLOCK_REALTIME && ahead && ahead != MAP_FAILED) now->tv_sec += *ahead;
    return failed;
}
"""


@dataclass(frozen=True, slots=True)
class Clock:
    """`ahead` is a file that holds by how many seconds the clock is wrong."""

    library: Path
    ahead: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Clock | None:
        """A clock that is right, with its files in a new folder; None without a C compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            return None
        folder.mkdir()
        clock = cls(folder / "clock.so", folder / "ahead")
        build = [compiler, "-shared", "-fPIC", "-O2", "-x", "c", "-", "-o", str(clock.library), "-ldl"]
        if subprocess.run(build, input=_SOURCE, text=True, capture_output=True, check=False).returncode:
            return None
        clock.ahead.touch()
        clock.set(0)
        return clock

    def set(self, seconds: int) -> None:
        """So many seconds ahead of the true time, at once."""
        with self.ahead.open("r+b") as file:
            os.pwrite(file.fileno(), seconds.to_bytes(8, "little", signed=True), 0)

    @property
    def environment(self) -> Mapping[str, str]:
        """What the process is to be started with."""
        return {"LD_PRELOAD": str(self.library), "CLOCK_AHEAD": str(self.ahead)}
