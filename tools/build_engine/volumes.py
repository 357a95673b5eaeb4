"""The volumes of the parity gate: chests, blends of them near the operating point, and what no chest is.

Blends are found by bisection on the CPU engine: between a chest that flags and one that does not, the
probability passes the operating point. Everything is drawn from fixed seeds.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from appliance.imaging.assess import Policy, assess
from appliance.imaging.header import NotDicom, Unreadable
from appliance.imaging.slices import read_slice
from appliance.intake.grouping import group
from appliance.known_answers import series_folders
from appliance.records import Slice, SlicePlan
from engines.protocol import Engine, Float32, Score
from engines.spec import Accepted, Grid
from tools.phantom import Export, make_chest, write_series
from tools.phantom.population import person
from tools.problem import WrongInput
from tools.workers import workers

FEWEST: Final = 50
NEAR: Final = 20
"""Of them, so many must lie near the operating point of a trained model."""

NEAR_BAND: Final = (0.02, 0.2)
"""How far from the operating point is near, in probability."""

_CHESTS: Final = 20
_SPARE: Final = 2
_HALVINGS: Final = 20
_UNSATURATED: Final = 0.9
_PATIENCE: Final = 12
_SHARES: Final = (0.25, 0.5, 0.75)
_MATRIX: Final = 128
_METAL_HU: Final = 30000.0

T = TypeVar("T")

Progress = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is, and of how much."""


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """`hu()` makes it: float32 HU [D, H, W]. `reference` is what the CPU engine says of it."""

    name: str
    near: bool
    reference: Score
    hu: Callable[[], Float32]


@dataclass(frozen=True, slots=True, eq=False)
class Chest:
    """`hu` is float32 [D, H, W] on the model's grid."""

    name: str
    hu: Float32


def gather(engine: Engine, chests: Sequence[Chest], near: bool, progress: Progress) -> list[Volume]:
    """At least `FEWEST` volumes; with `near`, those near the operating point come first, as far as there are
    any: some more than `NEAR`."""
    point = engine.spec.operating_point
    plain = [_made(engine, one.name, partial(_same, one.hu)) for one in _told(chests, progress, "chests")]
    flagged = [one for one in plain if one.reference.probability >= point]
    others = [one for one in plain if one.reference.probability < point]
    found = _near(engine, flagged, others, progress) if near else []
    found += plain
    found += [_made(engine, *one) for one in _told(_no_chests(chests), progress, "what no chest is")]
    for number in range(max(0, FEWEST - len(found))):
        pair, share = divmod(number, len(_SHARES))
        distance, first = divmod(pair, len(plain))
        second = plain[(first + distance + 1) % len(plain)]
        found.append(_made(engine, *_blend(plain[first], second, _SHARES[share])))
        progress("blends of chests", number + 1, FEWEST)
    return found


def phantoms(grid: Grid, progress: Progress, count: int = _CHESTS, first_seed: int = 1) -> list[Chest]:
    """The first phantoms of the population, from a seed on, that lie on the grid.

    Raises WrongInput where too few of them fit.
    """
    found: list[Chest] = []
    for seed, hu in each_phantom(grid, range(first_seed, first_seed + 2 * count)):
        found.append(Chest(f"phantom {seed}", hu))
        progress("phantoms", len(found), count)
        if len(found) == count:
            return found
    raise WrongInput(
        f"Only {len(found)} of {2 * count} phantoms lie on the model's grid of {_by(grid.size)} voxels: a"
        " grid must hold a chest, so correct the specification."
    )


def each_phantom(grid: Grid, seeds: Sequence[int]) -> Iterator[tuple[int, Float32]]:
    """Those of the population's phantoms that lie on the grid, through the appliance's imaging: the seed and
    float32 HU [D, H, W]. All processors make them, since one takes seconds."""
    pool = workers()
    try:
        for seed, made in zip(seeds, pool.map(partial(_phantom, grid), seeds), strict=True):
            yield from ((seed, hu) for hu in made)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def known_answers(grid: Grid) -> list[Chest]:
    """The known answers whose series lie on the grid: what every start asks of FP16."""
    return [
        Chest(f"known answer {folder.name}", hu)
        for folder in series_folders()
        for hu in _on_grid(folder, grid)
    ]


def read_chests(folder: Path, grid: Grid, progress: Progress) -> list[Chest]:
    """Every series below a folder that lies on the grid. Raises WrongInput where there is none."""
    found = [
        Chest(f"series {number}", hu)
        for number, hu in enumerate(_told(list(_on_grid(folder, grid)), progress, "series"), 1)
    ]
    if not found:
        raise WrongInput(f"{folder} holds no CT series that lies on the model's grid: name another folder.")
    return found


def _phantom(grid: Grid, seed: int) -> list[Float32]:
    one = person(seed, _MATRIX)
    # Thick slices are read fastest, and what a slice's thickness changes is no matter of precision.
    chest = make_chest(replace(one.chest, slice_mm=5.0), one.ranges, mimics=one.mimics)
    with tempfile.TemporaryDirectory() as scratch:
        write_series(chest, Path(scratch), Export())
        return list(_on_grid(Path(scratch), grid))


def _on_grid(folder: Path, grid: Grid) -> Iterator[Float32]:
    with warnings.catch_warnings():
        # pydicom's quote what a header says.
        warnings.simplefilter("ignore")
        slices = list(_slices(folder, SlicePlan.for_grid(grid)))
    for mine in group(slices).values():
        if (volume := assess(mine, grid, Policy(Accepted())).volume) is not None:
            yield volume.hu


def _slices(folder: Path, plan: SlicePlan) -> Iterator[Slice]:
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        with suppress(NotDicom, Unreadable):
            yield read_slice(path, plan)


def _near(
    engine: Engine, flagged: Sequence[Volume], others: Sequence[Volume], progress: Progress
) -> list[Volume]:
    """Blends of pairs, in turn below and above the operating point; each pair of chests gives one."""
    pairs = [(one, two) for one in range(len(flagged)) for two in range(len(others))]
    # Along the diagonals, so that every chest has its turn early.
    pairs.sort(key=lambda pair: ((pair[1] - pair[0]) % max(len(others), 1), pair[0]))
    found: list[Volume] = []
    for tried, (one, two) in enumerate(pairs):
        if len(found) == NEAR + _SPARE or (tried == _PATIENCE and not found):
            break
        above = len(found) % 2 == 1
        blend = _bisected(engine, flagged[one], others[two], above)
        found += [blend] if blend else []
        progress("near the operating point", len(found), NEAR + _SPARE)
    return found


def _bisected(engine: Engine, flags: Volume, other: Volume, above: bool) -> Volume | None:
    """A blend near the operating point, on the wanted side of it where the probability gets there."""
    bands = _bands(engine.spec.operating_point)
    wanted = bands[above] if bands[above][0] <= bands[above][1] else bands[not above]
    low, high = 0.0, 1.0
    fallback = None
    for _ in range(_HALVINGS):
        name, hu = _blend(flags, other, share := (low + high) / 2)
        made = _made(engine, name, hu, near=True)
        probability = made.reference.probability
        if wanted[0] <= probability <= wanted[1]:
            return made
        if any(least <= probability <= most for least, most in bands):
            fallback = made
        low, high = (low, share) if probability > wanted[1] else (share, high)
    return fallback


def _bands(point: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The probabilities that are near the operating point, below and above it. At 0 and 1 a probability shows
    no rounding, however near they are."""
    least, most = NEAR_BAND
    return (
        (point - min(most, _UNSATURATED * point), point - least),
        (point + least, point + min(most, _UNSATURATED * (1 - point))),
    )


def _blend(first: Volume, second: Volume, share: float) -> tuple[str, Callable[[], Float32]]:
    return f"{first.name} and {second.name}, {share:.6g} of the first", partial(
        _mixed, first.hu, second.hu, share
    )


def _mixed(first: Callable[[], Float32], second: Callable[[], Float32], share: float) -> Float32:
    mixed: Float32 = first() * np.float32(share) + second() * np.float32(1 - share)
    return mixed


def _same(hu: Float32) -> Float32:
    return hu


def _no_chests(chests: Sequence[Chest]) -> list[tuple[str, Callable[[], Float32]]]:
    size = chests[0].hu.shape
    named: dict[str, Callable[[], Float32]] = {
        f"all {what}": partial(np.full, size, np.float32(hu), np.float32)
        for what, hu in (("air", -1024), ("water", 0), ("bone", 1200), ("the brightest of 12 bits", 3071))
    }
    named["noise of lung"] = partial(_noise, size)
    named["noise of all densities"] = partial(_noise, size, wide=True)
    named["air and bone in turn"] = partial(_checkered, size)
    named["half a chest"] = partial(_half, chests[0].hu)
    for one in chests[:2]:
        named[f"{one.name} with metal"] = partial(_with_metal, one.hu)
    return list(named.items())


def _noise(size: tuple[int, ...], wide: bool = False) -> Float32:
    rng = np.random.default_rng(1)
    noise = rng.uniform(-1024, 3071, size) if wide else rng.normal(-700, 200, size)
    return np.maximum(noise, -1024).astype(np.float32)


def _checkered(size: tuple[int, ...]) -> Float32:
    return np.where(np.indices(size).sum(axis=0) % 2, np.float32(-1024), np.float32(3071))


def _half(hu: Float32) -> Float32:
    half = hu.copy()
    half[: len(half) // 2] = -1024
    return half


def _with_metal(hu: Float32) -> Float32:
    """Rods along the axis, as bright as the extended scale goes, with streaks through their slices."""
    metal = hu.copy()
    _, height, width = metal.shape
    for row, column in ((2, 3), (4, 6), (5, 2)):
        y, x = row * height // 8, column * width // 8
        metal[:, y, ::2] += 800
        metal[:, y, 1::2] -= 800
        metal[:, y - 1 : y + 2, x - 1 : x + 2] = _METAL_HU
    return np.maximum(metal, -1024)


def _made(engine: Engine, name: str, hu: Callable[[], Float32], near: bool = False) -> Volume:
    return Volume(name, near, engine.infer(hu()), hu)


def _told(items: Sequence[T], progress: Progress, what: str) -> Iterator[T]:
    for number, one in enumerate(items, 1):
        yield one
        progress(what, number, len(items))


def _by(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))
