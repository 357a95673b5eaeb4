"""scanlight bench engine: how long the CPU engine takes for a volume, by threads, and its memory.

The peer is ONNX Runtime as it comes: as many threads as there are cores, which spin while they wait.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from engines.bundle import BundleError, default_model, load_model
from tools.network.configuration import CONFIGURATIONS

BAR_MS: Final = 1000.0
"""At the 95th percentile, for a model that a workstation without a GPU is to run."""

BAR_GRID: Final = CONFIGURATIONS["edge"].grid.size

PEER: Final = "ONNX Runtime as it comes"


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds a volume, seconds of processor time a volume, and the process's peak memory."""

    name: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    slowest_ms: float
    processor_s: float
    peak_mb: float
    ratio_to_peer: float


def engine(
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An ONNX model or a bundle; else the embedded one.")
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, help="Repeatable; else 1 and all cores.")
    ] = None,
    volumes: Annotated[int, typer.Option(min=2, help="So many of each, taking turns.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Time the CPU engine volume by volume, each number of threads in a process of its own.

    Exit 1 when the model has the grid of edge, which processors are to run, and no number of threads takes
    at most a second at the 95th percentile. A model on another grid has no bar.
    """
    path = model or default_model()
    try:
        spec = load_model(path).spec
    except BundleError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    try:
        results = measure(path, threads or sorted({1, os.cpu_count() or 1}), volumes)
    except _Failed:
        typer.echo(
            f"The engine ended with model {path.name}, as told above: try it with scanlight read --model.",
            err=True,
        )
        raise typer.Exit(2) from None
    bar_ms = BAR_MS if spec.grid.size == BAR_GRID else None
    met = None if bar_ms is None else any(one.p95_ms <= bar_ms for one in results if one.name != PEER)
    if as_json:
        told = {"model": spec.name, "grid": spec.grid.size, "bar_p95_ms": bar_ms, "met": met}
        typer.echo(json.dumps({**told, "results": list(map(asdict, results))}))
    else:
        Console().print(_table(f"{spec.name}, {_by(spec.grid.size)} voxels", results, met))
    if met is False:
        raise typer.Exit(1)


def measure(model: Path, threads: list[int], volumes: int) -> list[Result]:
    """One process for each, which take turns; the first volume of each is not counted."""
    names = {f"{count} thread{'s' * (count > 1)}": count for count in threads} | {PEER: 0}
    taken: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        runners = {name: stack.enter_context(_Runner(model, count)) for name, count in names.items()}
        for _ in track(
            range(volumes + 1), description="volumes", transient=True, console=Console(stderr=True)
        ):
            for name, runner in runners.items():
                taken[name].append(runner.take())
        costs = {name: runner.end() for name, runner in runners.items()}
    return [_result(name, taken, costs[name]) for name in names]


def _result(name: str, taken: Mapping[str, list[float]], cost: tuple[float, float]) -> Result:
    counted = np.array(taken[name][1:])
    p50, p95, p99 = np.percentile(counted, (50, 95, 99))
    processor_s, peak_mb = cost
    ratio = float(np.median(taken[PEER][1:]) / p50)
    return Result(name, p50, p95, p99, float(counted.max()), processor_s / len(counted), peak_mb, ratio)


_RUN = """
import signal, sys, time
from pathlib import Path
import numpy as np
from engines.bundle import load_model
from engines.protocol import EngineError
signal.signal(signal.SIGINT, signal.SIG_IGN)
def say(kind, error, trace):
    if issubclass(kind, EngineError):
        print(error, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
sys.excepthook = say
model, threads = load_model(Path(sys.argv[1])), int(sys.argv[2])
if threads:
    from engines.onnxruntime import OnnxRuntimeEngine
    infer = OnnxRuntimeEngine(model, threads).infer
else:
    import onnxruntime
    session = onnxruntime.InferenceSession(model.content, providers=["CPUExecutionProvider"])
    channel = 1 if model.spec.layout == "NCDHW" else 4
    def infer(hu):
        session.run(None, {model.spec.input: np.expand_dims(hu, (0, channel))})
hu = np.random.default_rng(1).normal(-600, 300, model.spec.grid.size).astype(np.float32)
used = None
for _ in sys.stdin:
    started = time.perf_counter()
    infer(hu)
    print((time.perf_counter() - started) * 1000, flush=True)
    used = time.process_time() if used is None else used
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.process_time() - used, peak / 1024, flush=True)
"""
"""Answers each line with the milliseconds that a volume took, and the end of them with its costs."""


class _Failed(Exception):
    """The process of a runner has ended; what it said is on the terminal."""


class _Runner:
    """A process with an engine of so many threads; 0 is the peer."""

    def __init__(self, model: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(model), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def take(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except OSError:
            raise _Failed from None
        answer = self._process.stdout.readline()
        if not answer:
            raise _Failed
        return float(answer)

    def end(self) -> tuple[float, float]:
        """Seconds of processor time after the first volume, and the peak of memory in MB."""
        said, _ = self._process.communicate()
        processor_s, peak_mb = map(float, said.split())
        return processor_s, peak_mb


def _table(title: str, results: list[Result], met: bool | None) -> Table:
    bar = f"95th percentile at most {BAR_MS:.0f} ms"
    if met is None:
        verdict = f"no bar: {bar} is for {_by(BAR_GRID)} voxels"
    else:
        verdict = f"[green]{bar}: met[/]" if met else f"[red]{bar}: missed[/]"
    table = Table(title=title, caption=verdict)
    table.add_column("engine")
    for name in ("median ms", "95 %", "99 %", "slowest", "CPU s", "peak MB", "x peer"):
        table.add_column(name, justify="right")
    for one in results:
        table.add_row(
            one.name,
            *(f"{value:.0f}" for value in (one.p50_ms, one.p95_ms, one.p99_ms, one.slowest_ms)),
            f"{one.processor_s:.2f}",
            f"{one.peak_mb:.0f}",
            f"{one.ratio_to_peer:.2f}",
        )
    return table


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
