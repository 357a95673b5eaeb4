"""What a file does to its worker costs that file alone. Real processes, real faults."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from file_systems import shared
from poison import read_around_the_cache
from synthetic import chest, ct, save, write_volume

from appliance.imaging import isolation
from appliance.imaging.isolation import SlicePool, WorkerLost
from appliance.imaging.slices import NotDicom, Unreadable
from appliance.reasons import Reason
from appliance.records import SlicePlan

PLAN = SlicePlan((4.0, 4.0), (32, 32))


@pytest.fixture(scope="module")
def pool() -> Iterator[SlicePool]:
    with SlicePool(2, memory_mb=256, timeout_s=4) as running:
        running.warm()
        yield running


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_volume(tmp_path_factory.mktemp("series"), chest(30, 48))


def segfault() -> None:
    """A decoder without guard, on a stream whose size was falsified."""
    noise = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype("u2")
    stream = bytearray(imagecodecs.jpeg8_encode(noise, lossless=True, bitspersample=12))
    start = stream.index(b"\xff\xc3")
    stream[start + 5 : start + 9] = (4000).to_bytes(2, "big") * 2
    imagecodecs.jpegsof3_decode(bytes(stream))


def hang() -> None:
    time.sleep(60)


def quit_quietly() -> None:
    os._exit(3)


def bomb(path: Path) -> Path:
    """A deflated file of a few hundred kilobytes whose data set is larger than a worker may be."""
    dataset = ct(np.zeros((4, 6), int), syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    dataset.add_new(0x00110010, "LO", "SOMEBODY")
    dataset.add_new(0x00111001, "OB", bytes(400 << 20))
    return save(dataset, path)


def lost_to(future: Future[object]) -> Reason:
    with pytest.raises(WorkerLost) as caught:
        future.result(timeout=30)
    return caught.value.problem.reason


def test_a_crash_a_hang_and_a_hog_cost_one_file_each(
    pool: SlicePool, paths: list[Path], tmp_path: Path
) -> None:
    before = [pool.submit(path, PLAN) for path in paths[:10]]
    crashed, hung, quit_early = pool.call(segfault), pool.call(hang), pool.call(quit_quietly)
    hogged = pool.submit(bomb(tmp_path / "bomb.dcm"), PLAN)
    after = [pool.submit(path, PLAN) for path in paths[10:]]
    assert lost_to(crashed) is Reason.WORKER_CRASHED
    assert "SIGSEGV" in str(crashed.exception())
    assert lost_to(quit_early) is Reason.WORKER_CRASHED
    assert lost_to(hung) is Reason.WORKER_TIMEOUT
    assert lost_to(hogged) is Reason.WORKER_MEMORY
    read = [future.result(timeout=30).header.sop_instance_uid for future in before + after]
    assert read == [f"1.2.3.4.{k + 1}" for k in range(30)]


def test_the_exceptions_of_reading_come_through(pool: SlicePool, tmp_path: Path) -> None:
    for name, expected in (("a.txt", NotDicom), ("a.dcm", Unreadable)):
        (tmp_path / name).write_bytes(b"not an image")
        with pytest.raises(expected) as caught:
            pool.submit(tmp_path / name, PLAN).result(timeout=30)
        if isinstance(caught.value, Unreadable):
            assert caught.value.problem.reason is Reason.UNREADABLE
    with pytest.raises(FileNotFoundError):
        pool.submit(tmp_path / "gone.dcm", PLAN).result(timeout=30)


def confinement() -> tuple[bool, set[str], str]:
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    limits = Path("/proc/self/limits").read_text()
    core = next(line.split()[4] for line in limits.splitlines() if line.startswith("Max core"))
    return ignored, set(os.environ), core


def test_a_worker_has_no_secrets_and_leaves_no_core(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCANLIGHT_TEST_SECRET", "x")
    with SlicePool(1) as pool:
        ignores_interrupt, environment, core = pool.call(confinement).result(timeout=30)
    assert ignores_interrupt
    assert not {"SCANLIGHT_TEST_SECRET", "CREDENTIALS_DIRECTORY", "HOME"} & environment
    assert core == "0"


def test_a_pool_outlives_all_its_workers(paths: list[Path]) -> None:
    with SlicePool(2) as pool:
        for _ in range(3):
            pool.warm()
            for worker in {pool.call(os.getpid).result() for _ in range(20)}:
                os.kill(worker, signal.SIGKILL)
            wait_for(lambda: pool.submit(paths[0], PLAN).exception(timeout=30) is None)


def test_every_fault_at_once_costs_each_file_once(paths: list[Path]) -> None:
    """Workers that end in the moment they took up a task, many times over."""
    with SlicePool(2) as pool:
        futures = [pool.call(quit_quietly) if k % 3 else pool.submit(paths[k], PLAN) for k in range(30)]
        for k, future in enumerate(futures):
            if k % 3:
                assert lost_to(future) is Reason.WORKER_CRASHED
            else:
                assert future.result(timeout=30).header.sop_instance_uid == f"1.2.3.4.{k + 1}"


def unpicklable() -> object:
    return lambda: None


def test_what_cannot_be_sent_is_an_exception_of_that_task(pool: SlicePool) -> None:
    with pytest.raises(Exception, match="pickle"):
        pool.call(lambda: None).result(timeout=30)
    with pytest.raises(Exception, match="pickle"):
        pool.call(unpicklable).result(timeout=30)
    assert pool.call(abs, -3).result(timeout=30) == 3


def test_closing_ends_what_is_left() -> None:
    pool = SlicePool(1)
    futures = [pool.call(hang) for _ in range(4)]
    wait_for(futures[0].running)
    pool.close()
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(timeout=0)


def test_a_file_that_waits_behind_a_fault_is_read_all_the_same(paths: list[Path]) -> None:
    """It is in the same worker's pipe when that worker ends."""
    with SlicePool(1, timeout_s=1) as pool:
        pool.warm()
        for fault, reason in ((quit_quietly, Reason.WORKER_CRASHED), (hang, Reason.WORKER_TIMEOUT)):
            ended, behind, last = pool.call(fault), *(pool.submit(path, PLAN) for path in paths[:2])
            assert lost_to(ended) is reason
            assert behind.result(timeout=30).arrival.path == paths[0]
            assert last.result(timeout=30).arrival.path == paths[1]


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


PARENT = """
import sys, time
from appliance.imaging.isolation import SlicePool
import os

if __name__ == "__main__":
    pool = SlicePool(2, timeout_s=60)
    pool.warm()
    print(*{pool.call(os.getpid).result() for _ in range(30)}, flush=True)
    pool.call(time.sleep, 60)
    time.sleep(60)
"""


def test_workers_end_with_the_daemon_however_it_ends(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert workers
        time.sleep(0.2)
        parent.kill()
    wait_for(lambda: not any(alive(worker) for worker in workers))


ENDS_IN_A_START = """
import os
from multiprocessing import forkserver
from appliance.imaging.isolation import SlicePool

connect = forkserver.connect_to_new_process

def connect_and_end(descriptors):
    connect(descriptors)
    os._exit(0)

if __name__ == "__main__":
    forkserver.connect_to_new_process = connect_and_end
    SlicePool(1).warm()
"""


def ran(text: str, folder: Path) -> tuple[int, bytes]:
    """The exit code of a script, and what it said."""
    script = folder / "parent.py"
    script.write_text(text)
    done = subprocess.run([sys.executable, script], stderr=subprocess.PIPE, timeout=60, check=False)
    return done.returncode, done.stderr


def test_a_daemon_that_ends_while_a_worker_starts_has_nothing_in_its_log(tmp_path: Path) -> None:
    assert ran(ENDS_IN_A_START, tmp_path) == (0, b"")


@pytest.mark.parametrize("overdue", [False, True], ids=["in time", "overdue"])
def test_closing_does_not_wait_for_a_worker_inside_a_share_that_hangs(tmp_path: Path, overdue: bool) -> None:
    """The kernel ends it when the share answers, not when it is killed."""
    source, point = tmp_path / "source", tmp_path / "point"
    source.mkdir()
    point.mkdir()
    (source / "file").write_bytes(bytes(1 << 20))
    with shared(source, point, "--read-rate=10k") as share:
        pool = SlicePool(1, timeout_s=1 if overdue else 60)
        worker = pool.call(os.getpid).result(timeout=30)
        reading = pool.call(read_around_the_cache, point / "file", PLAN)
        wait_for(lambda: Path(f"/proc/{worker}/wchan").read_text() == "request_wait_answer")
        share.hang()
        if overdue:
            wait_for(lambda: state_of(worker) == "D")
        began = time.monotonic()
        pool.close()
        assert time.monotonic() - began < 10
        assert state_of(worker) == "D", "it was held"
        with pytest.raises((CancelledError, WorkerLost)):
            reading.result(timeout=0)
        share.go_on()
        wait_for(lambda: not alive(worker))


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


CANNOT_START = """
import multiprocessing
from appliance.imaging.isolation import _PRELOADED

class Odd:
    def __reduce__(self):
        return int, ("no number",)

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    process = context.Process(target=print, args=(Odd(),))
    process.start()
    process.join()
"""


def test_an_exception_in_a_worker_that_starts_is_told(tmp_path: Path) -> None:
    """Of the daemon's end alone there is nothing to say."""
    assert b"ValueError" in ran(CANNOT_START, tmp_path)[1]


def test_a_pool_that_can_start_no_worker_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(memory_mb: int) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(isolation, "_Worker", refuse)
    monkeypatch.setattr(threading, "excepthook", lambda told: None)
    pool = SlicePool(1)
    assert lost_to(pool.call(os.getpid)) is Reason.WORKER_CRASHED
    with pytest.raises((CancelledError, WorkerLost)):
        pool.call(os.getpid).result(timeout=30)
    pool.close()


def alive(pid: int) -> bool:
    try:
        return state_of(pid) != "Z"
    except FileNotFoundError:
        return False
