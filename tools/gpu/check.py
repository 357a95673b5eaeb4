"""`make gpu-check`: everything that only a machine with a GPU can show, in ten minutes and one report.

Runs with the Python of a bare machine and no network: it imports the standard library alone, and makes a
virtual environment of what `make gpu-wheels` prepared. What cannot be done is said, and the rest goes on.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from tools.gpu import lots
from tools.gpu.machine import Machine, look
from tools.gpu.report import NOT_DONE, PHANTOMS, VOLUMES, Part, Verdict, incomplete, write

ROOT: Final = Path(__file__).resolve().parents[2]
REPORTS: Final = ROOT / "docs" / "gpu-reports"
EDGE: Final = ROOT / "engines" / "models" / "csac-net-edge.onnx"
FULL: Final = "csac-net-full.onnx"
MINUTES: Final = 10.0
RESERVE_S: Final = 15.0
"""Kept for the report, and for what ends later than it was told to."""

LEAST_S: Final = 30.0
"""What has less time than this is not begun."""

FAILED: Final = 1
INCOMPLETE: Final = 3
"""The exit code where nothing failed, and something was not done."""

MORE_TIME: Final = "ARGS='--minutes 30'"

REAL_DRIVER: Final = "SCANLIGHT_REAL_DRIVER"
"""Set for the tests that are to use the driver of the machine."""

INTERRUPTED: Final = "the check was interrupted"

ENVIRONMENT: Final = "a virtual environment"
PYCUDA: Final = "PyCUDA"
CONTRACT: Final = "tests/gpu/test_gpu_runner.py"
FUNCTIONS: Final = "tests/gpu/test_machine_driver.py"
CUDA_13: Final = 13000
LARGEST_DELTA: Final = 0.01
LOWEST_CORRELATION: Final = 0.99
GROWTH_MIB: Final = 16.0

Found = tuple[str, dict[str, Any]]
"""What a part tells, and what it measured."""

Outcome = tuple[Verdict, str, dict[str, Any]]


class _NotDoneError(Exception):
    """Why a part could not be done."""


class _FailedError(Exception):
    """What went wrong in a part."""


class _OverdueError(Exception):
    """It did not end before the time was over, and so has failed."""


@dataclass(frozen=True)
class _Place:
    """The machine, the files that were brought, the Python with them, and when the time is over."""

    machine: Machine
    files: Path
    python: Path
    ends: float

    def left(self) -> float:
        return self.ends - time.monotonic()

    def run(self, *words: str | Path, more: Mapping[str, str] | None = None) -> str:
        """What a module of that Python prints. Raises _FailedError, or _OverdueError when time is over."""
        process = subprocess.Popen(
            [str(self.python), "-m", *map(str, words)],
            cwd=ROOT,
            env={**os.environ, **(more or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            said, problems = process.communicate(timeout=max(1.0, self.left()))
        except BaseException as error:
            # With the processes that it started, which would else keep the pipes open.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise _OverdueError(f"it did not end in its time: give it more with {MORE_TIME}") from None
            raise
        told = _last_line(problems) or _last_line(said)
        if process.returncode == NOT_DONE:
            raise _NotDoneError(told)
        if process.returncode:
            sys.stderr.write(f"\n{problems}")
            raise _FailedError(told)
        return said


def check(place: _Place, wheels: Path) -> Iterator[Part]:
    """One part after the other; what a part needs and has not is why it is not done."""
    works: dict[str, Callable[[], Found]] = {
        "GPU": lambda: _gpu(place.machine),
        ENVIRONMENT: lambda: _make_environment(place, wheels),
        PYCUDA: lambda: _build_pycuda(place),
        "functions of the driver": lambda: _functions(place),
        "contract of the runner": lambda: _contract(place),
        "TensorRT, edge": lambda: _tensorrt(place, EDGE, 0.45),
        "TensorRT, full": lambda: _tensorrt(place, place.files / FULL, 0.9),
    }
    why_not = ""
    for name, work in works.items():
        part = _part(name, place, work, why_not)
        if part.told == INTERRUPTED:
            why_not = INTERRUPTED
        elif name in (ENVIRONMENT, PYCUDA) and part.verdict != "passed":
            why_not = why_not or f"it needs {name}"
        yield part


def _part(name: str, place: _Place, work: Callable[[], Found], why_not: str) -> Part:
    sys.stderr.write(f"{name}: ")
    sys.stderr.flush()
    began = time.monotonic()
    if why_not:
        verdict, told, measured = _not_done(why_not)
    elif place.left() < LEAST_S:
        verdict, told, measured = _not_done("there was no time left")
    else:
        verdict, told, measured = _outcome(work)
    told = without_folders(told)
    sys.stderr.write(f"{verdict}, {told}\n")
    return Part(name, verdict, told, time.monotonic() - began, measured)


def _outcome(work: Callable[[], Found]) -> Outcome:
    try:
        told, measured = work()
    except (_NotDoneError, KeyboardInterrupt) as why:
        return _not_done(str(why) or INTERRUPTED)
    except (_FailedError, _OverdueError) as why:
        return "failed", str(why), {}
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        advice = "check the room on its disk, or name another folder with TMPDIR"
        return "failed", f"{name}{error.strerror or error}; {advice}", {}
    if measured and (problem := beyond_limits(measured)):
        return "failed", problem, measured
    if measured and (short := cut_short(measured)):
        return "failed", short, measured
    return "passed", told, measured


def _not_done(why: str) -> Outcome:
    return "not done", why, {}


def _gpu(machine: Machine) -> Found:
    if not machine.gpu:
        raise _NotDoneError(f"{machine.why_no_gpu}; what follows is done as far as it goes without one")
    cuda = f"{machine.cuda // 1000}.{machine.cuda % 1000 // 10}"
    return f"{machine.gpu}, {machine.gpu_memory}, driver {machine.driver} for CUDA {cuda}", {}


def _make_environment(place: _Place, wheels: Path) -> Found:
    if not wheels.is_dir():
        raise _NotDoneError(
            f"there is no folder {wheels.name}: prepare one with make gpu-wheels, and name it with WHEELS="
        )
    try:
        about = lots.unpack(wheels, place.files)
    except lots.LotError as problem:
        raise _FailedError(str(problem)) from None
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    if about.python != mine:
        raise _FailedError(
            f"the folder is for Python {about.python} and this is {mine}: start make gpu-check with"
            f" PYTHON=python{about.python}, or prepare another folder"
        )
    if importlib.util.find_spec("ensurepip") is None:
        raise _FailedError(f"no virtual environment can be made: apt-get install python{mine}-venv")
    try:
        venv.create(
            place.python.parents[1],
            system_site_packages=bool(about.left_out),
            symlinks=True,
            with_pip=True,
        )
    except subprocess.CalledProcessError as error:
        why = _last_line((error.output or b"").decode(errors="replace"))
        raise _FailedError(f"no virtual environment can be made: {why}") from None
    pip = ("pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
    installed = sorted(place.files.glob("*.whl"))
    if chosen := [one for one in installed if not one.name.startswith("nvidia_cuda_")]:
        place.run(*pip, *chosen)
    sources = [one for one in sorted(place.files.glob("*.tar.gz")) if not one.name.startswith("pycuda-")]
    if sources:
        place.run(*pip, "--no-build-isolation", *sources)
    had = f", and what was here of {', '.join(about.left_out)}" if about.left_out else ""
    return f"{len(installed)} wheels for Python {mine}{had}", {}


def _build_pycuda(place: _Place) -> Found:
    if not any(place.files.glob("pycuda-*")):
        place.run("pip", "show", "--quiet", "pycuda")
        return "it was here", {}
    # Without a driver either will do.
    headers = "cuda12" if 0 < place.machine.cuda < CUDA_13 else "cuda13"
    place.run("tools.gpu.pycuda", "--files", place.files, "--headers", headers)
    return f"built with the headers of {headers}", {}


def _functions(place: _Place) -> Found:
    if not place.machine.cuda:
        raise _NotDoneError("there is no driver to look at")
    _pytest(place, FUNCTIONS, {REAL_DRIVER: "1"})
    return "the driver has every function that PyCUDA links to", {}


def _contract(place: _Place) -> Found:
    if place.machine.gpu:
        try:
            return f"{_pytest(place, CONTRACT, {REAL_DRIVER: '1'})}, with the machine's driver", {}
        except _OverdueError:
            raise _FailedError(
                "the tests hung with the machine's driver until the time was over: look at dmesg,"
                f" and repeat with {MORE_TIME}"
            ) from None
    return f"{_pytest(place, CONTRACT, {})}, with the tests' own driver on the memory of the host", {}


def _pytest(place: _Place, file: str, more: Mapping[str, str]) -> str:
    """How many tests passed; raises _FailedError with the first that did not."""
    results = place.files / "results.xml"
    results.unlink(missing_ok=True)
    try:
        place.run("pytest", "-p", "no:cacheprovider", f"--junitxml={results}", file, more=more)
    except _FailedError:
        if not results.exists():
            raise
        failed = [one.get("name") for one in _tests(results) if one.find("failure") is not None]
        broken = [one.get("name") for one in _tests(results) if one.find("error") is not None]
        if not failed + broken:
            raise
        raise _FailedError(
            f"{len(failed) + len(broken)} tests failed, {(failed + broken)[0]} first"
        ) from None
    skipped = sum(one.find("skipped") is not None for one in _tests(results))
    passed = len(_tests(results)) - skipped
    if not passed:
        raise _FailedError(f"all {skipped} tests were skipped")
    return f"{passed} tests passed, {skipped} skipped"


def _tests(results: Path) -> list[ElementTree.Element]:
    try:
        # Written by our own tests a moment ago.
        return list(ElementTree.parse(results).iter("testcase"))  # noqa: S314
    except ElementTree.ParseError:
        raise _FailedError("what the tests wrote of themselves is cut short") from None


def _tensorrt(place: _Place, model: Path, share: float) -> Found:
    if not place.machine.gpu:
        raise _NotDoneError("there is no GPU")
    if not model.exists():
        raise _NotDoneError(f"{model.name} is not among the files: PyTorch makes it where they are prepared")
    seconds = place.left() * share
    measured = json.loads(_last_line(place.run("tools.gpu.measure", model, str(int(seconds)))))
    speed = measured["speed"]
    return f"median {speed['p50_ms']:.2f} ms, 99 % {speed['p99_ms']:.2f} ms", measured


def beyond_limits(measured: Mapping[str, Any]) -> str:
    """What of that which `tools.gpu.measure` printed is beyond a limit, "" for nothing.

    Flags and heatmaps of a model without trained weights mean nothing.
    """
    speed, cpu = measured["speed"], measured["against_cpu"]
    alike = cpu["lowest_correlation"] if measured["trained"] else None
    problems = []
    if cpu["volumes"] and not cpu["largest_delta"] <= LARGEST_DELTA:
        problems.append(f"the probability differs by {cpu['largest_delta']:.4f} from the CPU's")
    if measured["trained"] and cpu["flags_changed"]:
        problems.append(f"{cpu['flags_changed']} flags differ from the CPU's")
    if alike is not None and not alike >= LOWEST_CORRELATION:
        problems.append(f"heatmaps correlate by {alike:.3f} alone")
    growth = speed["memory_last_mib"] - speed["memory_first_mib"]
    if not growth <= GROWTH_MIB:
        problems.append(f"memory grew by {growth:.0f} MiB over {speed['volumes']} volumes")
    return "; ".join(problems)


def cut_short(measured: Mapping[str, Any]) -> str:
    """What `tools.gpu.measure` had no time for, "" for nothing."""
    volumes, phantoms = measured["speed"]["volumes"], measured["against_cpu"]["volumes"]
    short = [f"{volumes:,} of {VOLUMES:,} volumes"] if volumes < VOLUMES else []
    short += [f"{phantoms} of {PHANTOMS} phantoms"] if phantoms < PHANTOMS else []
    return f"{' and '.join(short)} were read: give it more time with {MORE_TIME}" if short else ""


def without_folders(text: str) -> str:
    """With a file's name alone where its whole path is: no page tells where things lie on a machine."""
    return re.sub(r"(?<![\w./])/(?:[^\s/'\",:;]+/)+([^\s/'\",:;]+)", r"\1", text)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _revision() -> str:
    """Of this checkout; a copy of one has none."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description="Check this machine's GPU, and write a report.")
    parser.add_argument("wheels", type=Path, help="the folder that make gpu-wheels prepared")
    parser.add_argument("--out", type=Path, default=REPORTS, help="the folder for the report")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="the time for everything")
    given = parser.parse_args()
    # As Ctrl-C: what was found until then is in the report.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        machine, parts = _checked(given.wheels, given.minutes)
        day = datetime.datetime.now(datetime.UTC).date().isoformat()
        page = write(given.out, day, _revision(), machine, parts)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        sys.exit(f"{name}{error.strerror or error}: name a folder for the report with ARGS='--out FOLDER'")
    sys.stderr.write(f"{page}\n")
    if missing := incomplete(machine, parts):
        sys.stderr.write(f"{missing}\n")
    verdicts = {one.verdict for one in parts}
    if "failed" in verdicts:
        sys.exit(FAILED)
    if "not done" in verdicts:
        sys.exit(INCOMPLETE)


def _checked(wheels: Path, minutes: float) -> tuple[Machine, list[Part]]:
    """Raises OSError when there is no folder for what is made."""
    ends = time.monotonic() + minutes * 60 - RESERVE_S
    machine = look()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        files = Path(name) / "files"
        files.mkdir()
        place = _Place(machine, files, Path(name) / "venv" / "bin" / "python", ends)
        return machine, list(check(place, wheels))


if __name__ == "__main__":
    main()
