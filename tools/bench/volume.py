"""scanlight bench volume: from a folder of CT slices to a native int16 HU array, against other readers."""

from __future__ import annotations

import gc
import importlib.util
import json
import math
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pydicom
import typer
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from rich.console import Console
from rich.table import Table

from appliance.imaging.assess import Policy, assess
from appliance.imaging.geometry import stack
from appliance.imaging.isolation import SlicePool
from appliance.imaging.slices import read_slice
from appliance.imaging.volume import header_of, read_pixels, read_volume
from appliance.records import Header, Problem, SlicePlan, Volume
from engines.spec import Accepted, Grid
from tools.bench.series import Series, prepare, stored_values

GRID: Final = Grid(size=(80, 128, 128), spacing_mm=(5.0, 3.2, 3.2))
PLAN: Final = SlicePlan.for_grid(GRID)

ONE_THREAD, TWO_THREADS, ISOLATED = "one thread", "two threads", "isolated workers"
MODEL_GRID, STREAMING = "model grid, one thread", "left after the last slice"
FLOOR_BYTES, FLOOR_ADDITION = "floor: bytes", "floor: bytes and one addition"
SIMPLEITK, PYDICOM, PYDICOM_OURS = "SimpleITK", "pydicom", "pydicom with imagecodecs"
PEERS: Final = (SIMPLEITK, PYDICOM)
"""What a reader would otherwise use. pydicom brings no decoder for JPEG Lossless: where no plugin of its is
installed it cannot read the series, and the loop with our decoder is there for comparison alone."""
BARS: Final[Mapping[str, Mapping[str, float]]] = {
    "uncompressed": {ONE_THREAD: 3.0, ISOLATED: 2.0},
    "JPEG Lossless": {ONE_THREAD: 2.0, ISOLATED: 2.0},
}
"""How many times as fast as the fastest peer a path has to be."""
STREAMING_BAR_MS: Final = 50.0
BATCH: Final = 8
MEMORY_BAR_MB: Final = 600.0

Native = npt.NDArray[np.int16]
T = TypeVar("T")
Path_ = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Result:
    """Medians of one series in ms; `ratios` are to the fastest peer, larger is faster."""

    encoding: str
    source: str
    slices: int
    size: tuple[int, int]
    ratio_to_fastest_peer: float
    fastest_peer: str
    median_ms: Mapping[str, float]
    ratios: Mapping[str, float]
    peak_memory_mb: float


def volume(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Each path is timed once a round.")] = 7,
) -> None:
    """Time a folder of CT slices to a native int16 HU array, interleaved with SimpleITK's series reader and a
    plain pydicom loop over the same files, all results bit-equal."""
    if importlib.util.find_spec("SimpleITK") is None:
        typer.echo(
            "SimpleITK, the peer to measure against, is missing: pip install 'scanlight[bench]'.", err=True
        )
        raise typer.Exit(1)
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory(prefix="scanlight-bench-") as folder, SlicePool(2, timeout_s=60) as pool:
        with console.status("Writing the series"):
            series = prepare(Path(folder))
        results = []
        for one in series:
            with console.status(f"Timing {one.encoding}, {rounds} rounds"):
                results.append(measure(one, pool, rounds))
    if as_json:
        typer.echo(
            json.dumps({"rounds": rounds, "cores": os.cpu_count(), "series": [asdict(r) for r in results]})
        )
    else:
        for result in results:
            console.print(_table(result))


def measure(series: Series, pool: SlicePool, rounds: int) -> Result:
    """Times every path once a round, after one round of warming up in which the results are compared."""
    paths = series.paths
    readers: dict[str, Callable[[], Native]] = {
        SIMPLEITK: partial(by_simpleitk, paths),
        PYDICOM: partial(by_pydicom, paths),
        PYDICOM_OURS: partial(by_pydicom, paths, stored_values),
        ONE_THREAD: lambda: read_volume(paths).hu,
        TWO_THREADS: lambda: read_volume(paths, threads=2).hu,
        ISOLATED: partial(isolated, paths, pool),
    }
    if not _decodes(paths[0]):
        del readers[PYDICOM]
    pool.warm()
    shape = _same({name: read() for name, read in readers.items()})
    stream = Stream(paths)
    others: dict[str, Path_] = {
        MODEL_GRID: partial(model_grid, paths),
        STREAMING: stream.finish,
        FLOOR_BYTES: partial(floor, paths, shape, add=False),
        FLOOR_ADDITION: partial(floor, paths, shape, add=True),
    }
    for path in others.values():
        path()
    times: dict[str, list[float]] = {name: [] for name in (*readers, *others)}
    for _ in range(rounds):
        for name, path in (readers | others).items():
            times[name].append(_elapsed_ms(path))
    median = {name: statistics.median(values) for name, values in times.items()}
    fastest = min((name for name in PEERS if name in median), key=median.__getitem__)
    ratios = {name: median[fastest] / median[name] for name in median if name not in (STREAMING, *PEERS)}
    return Result(
        encoding=series.encoding,
        source=series.source,
        slices=shape[0],
        size=shape[1:],
        ratio_to_fastest_peer=round(ratios[ONE_THREAD], 2),
        fastest_peer=fastest,
        median_ms={name: round(value, 2) for name, value in median.items()},
        ratios={name: round(value, 2) for name, value in ratios.items()},
        peak_memory_mb=round(peak_memory_mb(paths), 1),
    )


def _decodes(path: Path) -> bool:
    """Whether pydicom can decode such a file here."""
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    return not syntax.is_compressed or get_decoder(syntax).is_available


def _same(arrays: Mapping[str, Native]) -> tuple[int, int, int]:
    """The shape of all arrays, which must be equal to the last bit."""
    (first, expected), *others = arrays.items()
    for name, array in others:
        if array.dtype != np.int16 or not np.array_equal(array, expected):
            typer.echo(f"{name} and {first} read different voxels: no time is worth comparing.", err=True)
            raise typer.Exit(1)
    depth, rows, columns = expected.shape
    return depth, rows, columns


def _elapsed_ms(path: Path_) -> float:
    gc.collect()
    began = time.perf_counter()
    kept = path()
    elapsed = (time.perf_counter() - began) * 1e3
    del kept
    return elapsed


def by_simpleitk(paths: Sequence[Path]) -> Native:
    """SimpleITK's series reader, which orders the folder itself."""
    import SimpleITK as sitk  # noqa: N813, PLC0415 (an extra)

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(paths[0].parent)))
    array: Native = sitk.GetArrayFromImage(reader.Execute())
    return array


def _pixel_array(dataset: Dataset) -> npt.NDArray[Any]:
    return dataset.pixel_array


def by_pydicom(paths: Sequence[Path], values: Callable[[Dataset], npt.NDArray[Any]] = _pixel_array) -> Native:
    """The loop that everybody writes, without its usual mistakes."""
    datasets = [pydicom.dcmread(path) for path in paths]
    orientation = np.array(datasets[0].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    datasets.sort(key=lambda one: float(np.dot(normal, one.ImagePositionPatient)))
    hu = np.empty((len(datasets), datasets[0].Rows, datasets[0].Columns), np.int16)
    for index, one in enumerate(datasets):
        hu[index] = values(one)
        hu[index] *= np.int16(one.RescaleSlope)
        hu[index] += np.int16(one.RescaleIntercept)
    return hu


def isolated(paths: Sequence[Path], pool: SlicePool) -> Native:
    """The same array by worker processes: headers first, then pixels straight into their place in shared
    memory, a few files a task."""
    read = [pool.call(_headers, some) for some in batched(paths)]
    placed = stack([header for some in read for header in some.result()])
    assert not isinstance(placed, Problem), placed.detail
    shared = os.memfd_create("volume")
    try:
        os.ftruncate(shared, 2 * math.prod(placed.size))
        name = f"/proc/{os.getpid()}/fd/{shared}"
        inode = os.fstat(shared).st_ino
        ordered = batched([(place, paths[index]) for place, index in enumerate(placed.order)])
        for filled in [pool.call(_fill, some, name, inode, placed.size) for some in ordered]:
            filled.result()
        return _mapped(shared, placed.size)
    finally:
        os.close(shared)


def batched(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), BATCH):
        yield items[first : first + BATCH]


def _headers(paths: Sequence[Path]) -> list[Header]:
    """Runs in a worker."""
    return [header_of(path).header for path in paths]


def _fill(places: Sequence[tuple[int, Path]], shared: str, inode: int, size: tuple[int, int, int]) -> None:
    """Runs in a worker."""
    hu = _attached(shared, inode, size)
    for place, path in places:
        read_pixels(path, header_of(path), hu[place])


@lru_cache(maxsize=1)
def _attached(shared: str, inode: int, size: tuple[int, int, int]) -> Native:
    """The caller's array; `inode` tells one from the next that gets the same name."""
    descriptor = os.open(shared, os.O_RDWR)
    try:
        return _mapped(descriptor, size)
    finally:
        os.close(descriptor)


def _mapped(descriptor: int, size: tuple[int, int, int]) -> Native:
    return np.frombuffer(mmap.mmap(descriptor, 0), np.int16).reshape(size)


def model_grid(paths: Sequence[Path]) -> Volume:
    """The whole of imaging, slice by slice in one thread: statistics, lung, planes and the model's grid."""
    assessment = assess([read_slice(path, PLAN) for path in paths], GRID, Policy(Accepted()))
    assert assessment.volume is not None, assessment.problem
    return assessment.volume


class Stream:
    """A series of which all slices but the last have been read as they came."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._read = [read_slice(path, PLAN) for path in paths[:-1]]
        self._last = paths[-1]

    def finish(self) -> Volume:
        """What is left to do when the last slice is there."""
        assessment = assess([*self._read, read_slice(self._last, PLAN)], GRID, Policy(Accepted()))
        assert assessment.volume is not None, assessment.problem
        return assessment.volume


def floor(paths: Sequence[Path], shape: tuple[int, int, int], *, add: bool) -> Native:
    """What no reader can avoid: every byte read once, and one addition to every voxel."""
    planes = np.zeros(shape, np.int16)
    for index, path in enumerate(paths):
        with path.open("rb", buffering=0) as file:
            file.readinto(planes[index].data)
        if add:
            planes[index] += np.int16(-1024)
    return planes


_PEAK = """
import sys
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
from pathlib import Path
from appliance.imaging.volume import read_volume
volume = read_volume([Path(path) for path in sys.stdin.read().splitlines()])
print(peak() - before)
"""


def peak_memory_mb(paths: Sequence[Path]) -> float:
    """The peak of a fresh process that reads the volume, above that of a bare interpreter: imports count."""
    done = subprocess.run(
        [sys.executable, "-c", _PEAK],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) / 1024


def _table(result: Result) -> Table:
    bars = BARS[result.encoding]
    table = Table(
        title=f"{result.encoding}: {result.slices} slices of {result.size[0]} × {result.size[1]},"
        f" {result.source}",
        caption=f"peak memory {result.peak_memory_mb:.0f} MB above the interpreter"
        f" {_verdict(result.peak_memory_mb <= MEMORY_BAR_MB, f'at most {MEMORY_BAR_MB:.0f}')}",
    )
    table.add_column("path")
    table.add_column("median ms", justify="right")
    table.add_column("ratio_to_fastest_peer", justify="right")
    table.add_column("bar")
    for name, milliseconds in result.median_ms.items():
        ratio = result.ratios.get(name)
        verdict = ""
        if name in bars and ratio is not None:
            verdict = _verdict(ratio >= bars[name], f"at least {bars[name]:g}")
        if name == STREAMING:
            verdict = _verdict(milliseconds <= STREAMING_BAR_MS, f"at most {STREAMING_BAR_MS:g} ms")
        table.add_row(name, f"{milliseconds:.1f}", "" if ratio is None else f"{ratio:.2f}", verdict)
    return table


def _verdict(met: bool, bar: str) -> str:
    return f"[green]{bar}: met[/]" if met else f"[red]{bar}: missed[/]"
