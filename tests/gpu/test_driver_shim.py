"""The driver of the tests is as strict as it says, seen through real PyCUDA."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import shim

BEGIN = """
import gc, json, sys, threading
import numpy as np, pycuda.driver as cuda, shim
cuda.init()
context = cuda.Device(0).retain_primary_context()
context.push()
stream, other = cuda.Stream(), cuda.Stream()
host, back = (cuda.pagelocked_empty(1000, np.float32) for _ in range(2))
host[:] = 7
device = cuda.mem_alloc(host.nbytes)
def refused(what, *arguments):
    try:
        what(*arguments)
    except cuda.Error as error:
        return str(error)
    return "not refused"
def send_and_fetch():
    cuda.memcpy_htod_async(device, host, stream)
    cuda.memcpy_dtoh_async(back, device, stream)
def tell(*what):
    print(json.dumps(what))
"""
END = """
context.pop()
"""


def told(surroundings: dict[str, str], script: str, **more: str) -> object:
    """What a script tells that begins with a context, two streams and some memory."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script + END],
        env=surroundings | more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (what,) = json.loads(done.stdout)
    return what


def test_work_waits_for_a_synchronisation_of_its_own_stream(double_of_driver: dict[str, str]) -> None:
    script = """
send_and_fetch()
other.synchronize()
before = bool(np.isnan(back).all())
stream.synchronize()
tell([before, float(back.mean())])
"""
    assert told(double_of_driver, script) == [True, 7.0]


def test_an_event_waits_for_what_was_before_it(double_of_driver: dict[str, str]) -> None:
    script = """
first, second = cuda.Event(), cuda.Event()
first.record(stream)
send_and_fetch()
early = refused(first.time_till, second)
second.record(stream)
pending = refused(first.time_till, second)
second.synchronize()
tell([early, pending, float(back.mean()), first.time_till(second) >= 0])
"""
    early, pending, mean, in_order = told(double_of_driver, script)
    assert "invalid resource handle" in early
    assert "device not ready" in pending
    assert (mean, in_order) == (7.0, True)


def test_a_stream_waits_for_an_event_of_another(double_of_driver: dict[str, str]) -> None:
    script = """
sent = cuda.Event()
cuda.memcpy_htod_async(device, host, stream)
sent.record(stream)
other.wait_for_event(sent)
cuda.memcpy_dtoh_async(back, device, other)
other.synchronize()
tell(float(back.mean()))
"""
    assert told(double_of_driver, script) == 7.0


def test_asking_again_and_again_sees_the_end(double_of_driver: dict[str, str]) -> None:
    script = """
send_and_fetch()
asked = 1
while not stream.is_done():
    asked += 1
tell([asked, float(back.mean())])
"""
    asked, mean = told(double_of_driver, script)
    assert asked > 1
    assert mean == 7.0


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (
            "cuda.memcpy_htod_async, device, cuda.pagelocked_empty(1001, np.float32), stream",
            "invalid argument",
        ),
        (
            "cuda.memcpy_dtoh_async, cuda.pagelocked_empty(1001, np.float32), device, stream",
            "invalid argument",
        ),
        ("cuda.memcpy_dtoh_async, back, int(device) + 4, stream", "invalid argument"),
        ("cuda.memcpy_htod_async, 4096, host, stream", "invalid argument"),
        ("cuda.memset_d8_async, int(device), 0, 4001, stream", "invalid argument"),
        ("cuda.mem_alloc, 0", "invalid argument"),
        ("cuda.mem_alloc, 9 << 30", "out of memory"),
        ("cuda.Device, 1", "invalid device ordinal"),
        ("cuda.module_from_buffer, b'none'", "operation not supported"),
    ],
)
def test_what_is_wrong_is_refused(double_of_driver: dict[str, str], call: str, reason: str) -> None:
    assert reason in str(told(double_of_driver, f"tell(refused({call}))"))


def test_freed_memory_is_gone_for_good(double_of_driver: dict[str, str]) -> None:
    script = """
address = int(device)
device.free()
again = [int(cuda.mem_alloc(host.nbytes)) for _ in range(9)]
tell([refused(cuda.memcpy_htod_async, address, host, stream), address in again])
"""
    said, given_again = told(double_of_driver, script)
    assert "invalid argument" in said
    assert not given_again


def test_memory_freed_under_waiting_work_loses_the_device(double_of_driver: dict[str, str]) -> None:
    script = """
send_and_fetch()
device.free()
said = refused(stream.synchronize), refused(stream.synchronize)
tell(said)
import os; sys.stdout.flush(); os._exit(0)
"""
    assert all("illegal memory access" in str(one) for one in told(double_of_driver, script))


def test_a_thread_has_no_context_but_its_own(double_of_driver: dict[str, str]) -> None:
    script = """
said = []
def elsewhere():
    said.append(refused(cuda.memcpy_htod_async, device, host, stream))
    context.push()
    said.append(refused(cuda.memcpy_htod_async, device, host, stream))
    context.pop()
thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
tell(said)
"""
    without, with_context = told(double_of_driver, script)
    assert "invalid device context" in without
    assert with_context == "not refused"


def test_what_is_left_in_a_context_is_counted(double_of_driver: dict[str, str]) -> None:
    script = """
before = shim.counts()
del stream
gc.collect()
context.pop()
context.detach()
tell([before, shim.counts()])
context = cuda.Device(0).retain_primary_context()
context.push()
"""
    before, after = told(double_of_driver, script)
    assert [before[what] for what in ("contexts", "streams", "device", "host")] == [1, 2, 1, 2]
    assert [after[what] for what in ("contexts", "streams", "device", "host")] == [0, 0, 0, 0]
    assert after["leaked"] == 4


def test_pageable_memory_and_the_default_stream_are_counted(double_of_driver: dict[str, str]) -> None:
    script = """
cuda.memcpy_htod(device, np.zeros(1000, np.float32))
tell(shim.counts())
"""
    counts = told(double_of_driver, script)
    assert (counts["pageable"], counts["default stream"], counts["refused"]) == (1, 1, 0)


def test_it_has_every_function_that_pycuda_links_to(double_of_driver: dict[str, str]) -> None:
    assert len(shim.wanted()) > 100
    assert {"cuInit", "cuMemcpyHtoDAsync_v2", "cuStreamSynchronize"} <= shim.wanted() & shim.implemented()
    folder = double_of_driver["LD_LIBRARY_PATH"].split(":")[0]
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", f"{folder}/{shim.LIBRARY}"], capture_output=True, text=True, check=True
    ).stdout
    assert shim.wanted() <= set(re.findall(r" T (cu\w+)", listed))
