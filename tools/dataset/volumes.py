"""The cases as volumes on a model's grid, made once by the daemon's own imaging code.

A volume is kept under a digest of its files' bytes, the grid, what the model accepts and the imaging version,
so that whatever would change it makes another one. It is float16: HU to half a unit.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from appliance import durable
from appliance.imaging import IMAGING_VERSION
from appliance.imaging.assess import Policy, assess
from appliance.imaging.header import NotDicom, Unreadable
from appliance.imaging.resample import area_weights
from appliance.imaging.slices import ChangedMeanwhile, read_slice
from appliance.intake.grouping import group
from appliance.records import Assessment, Slice, SlicePlan, Volume
from engines.spec import Accepted, Grid
from tools.dataset.cases import Case
from tools.problem import WrongInput
from tools.workers import workers

Float16 = npt.NDArray[np.float16]
Shares = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]

_FACTS: Final = {"series_uid", "patient", "why"}
_NO_NPZ: Final = (ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises on a file of another kind, or half a one."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a case. `volume` is the file [D, H, W] of float16, `mask` that of the lesions' share of
    each voxel, 0 to 255; without a volume `why` says why not. `patient` is a digest, never a name."""

    case: Case
    series_uid: str
    patient: str
    volume: Path | None
    mask: Path | None
    why: str

    def hu(self) -> Float16:
        """Mapped, not read: a crop costs what it holds."""
        assert self.volume is not None
        hu: Float16 = np.load(self.volume, mmap_mode="r")
        return hu

    def lesions(self) -> Shares | None:
        """Mapped; None without a mask."""
        return None if self.mask is None else np.load(self.mask, mmap_mode="r")


def make_volumes(
    cases: Sequence[Case],
    grid: Grid,
    accepted: Accepted,
    cache: Path,
    processes: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Made]:
    """The cases in their order; what is in the cache is not made again. Raises WrongInput where a mask cannot
    be read, and OSError."""
    cache.mkdir(parents=True, exist_ok=True)
    one = partial(_made, grid=grid, accepted=accepted, cache=cache)
    found = []
    with workers(processes) as pool:
        for made in pool.map(one, cases, chunksize=4):
            found.append(made)
            progress(len(found), len(cases))
    return found


def _made(case: Case, *, grid: Grid, accepted: Accepted, cache: Path) -> Made:
    key = _key(case, grid, accepted)
    facts, volume, mask = (cache / f"{key}{suffix}" for suffix in (".json", ".npy", ".mask.npy"))
    needed = [volume] if case.mask is None else [volume, mask]
    known = _known(facts)
    if known is None or not (known["why"] or all(path.exists() for path in needed)):
        known = _read(case, grid, accepted, volume, mask)
        part = _part(facts)
        durable.write(part, json.dumps(known).encode())
        part.replace(facts)
    return Made(
        case,
        known["series_uid"],
        # The table is no part of the key, so what it says of a patient is not kept.
        hashlib.sha256(case.patient.encode()).hexdigest() if case.patient else known["patient"],
        None if known["why"] else volume,
        mask if mask.exists() else None,
        known["why"],
    )


def _known(facts: Path) -> dict[str, str] | None:
    """What the cache knows of a series; None where it is not in it, or not whole."""
    try:
        known = json.loads(facts.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return known if isinstance(known, dict) and known.keys() == _FACTS else None


def _key(case: Case, grid: Grid, accepted: Accepted) -> str:
    digest = hashlib.sha256()
    files = [*case.files, *([case.mask] if case.mask else [])]
    for content in sorted(hashlib.sha256(path.read_bytes()).digest() for path in files):
        digest.update(content)
    rules: dict[str, Any] = {"grid": grid.model_dump(), "accepted": accepted.model_dump()}
    digest.update(json.dumps([rules, IMAGING_VERSION], sort_keys=True).encode())
    return digest.hexdigest()[:32]


def _read(case: Case, grid: Grid, accepted: Accepted, volume: Path, mask: Path) -> dict[str, str]:
    """Writes the arrays; what is known of the series."""
    read = _assessed(_slices(case, grid), grid, accepted)
    found = [(slices, one) for slices, one in read if one.volume is not None]
    if len(found) > 1:
        why = f"{len(found)} of its series can be read: name the folder of one"
    elif not found:
        problems = [one.problem.detail for _, one in read if one.problem is not None]
        why = " ".join(problems) or "it holds no DICOM series"
    else:
        why = ""
    if why:
        slices = read[0][0] if read else []
        return {**_names(slices), "why": why}
    ((slices, one),) = found
    assert one.volume is not None
    _save(volume, one.volume.hu.astype(np.float16))
    if case.mask is not None:
        _save(mask, _mask_on_grid(case.mask, one.volume))
    return {**_names(slices), "why": ""}


def _slices(case: Case, grid: Grid) -> list[Slice]:
    plan = SlicePlan.for_grid(grid)
    slices = []
    for path in case.files:
        try:
            slices.append(read_slice(path, plan))
        except (NotDicom, Unreadable, ChangedMeanwhile):
            continue
    return slices


def _assessed(
    slices: Sequence[Slice], grid: Grid, accepted: Accepted
) -> list[tuple[Sequence[Slice], Assessment]]:
    return [(mine, assess(mine, grid, Policy(accepted))) for mine in group(slices).values()]


def _names(slices: Sequence[Slice]) -> dict[str, str]:
    header = slices[0].header if slices else None
    return {"series_uid": header.series_uid if header else "", "patient": header.patient if header else ""}


def _mask_on_grid(path: Path, volume: Volume) -> Shares:
    """The share of lesion in each voxel."""
    lesions, spacing, origin = _mask(path)
    share = lesions
    for axis in range(3):
        # Along z, y, x; positions are of the centres of voxels, x first.
        low = origin[2 - axis] - spacing[axis] / 2
        edges = low + np.arange(lesions.shape[axis] + 1) * spacing[axis]
        cell = volume.spacing_mm[axis]
        first = volume.origin_mm[2 - axis] - cell / 2
        weights = area_weights(edges, first + np.arange(volume.hu.shape[axis] + 1) * cell)
        share = np.moveaxis(np.tensordot(weights.toarray(), np.moveaxis(share, axis, 0), 1), 0, axis)
    on_grid: Shares = np.rint(share * 255).astype(np.uint8)
    return on_grid


def _mask(path: Path) -> tuple[Float64, Float64, Float64]:
    """Lesions, spacing and origin, as `scanlight phantom --mask` writes them. Raises WrongInput."""
    wrong = WrongInput(
        f"{path} is no lesion mask: an .npz file with lesions [z, y, x] of 0 to 1, spacing_mm (z, y, x) and"
        " origin_mm (x, y, z) is needed, so write it as `scanlight phantom --mask` does, or remove it."
    )
    try:
        with np.load(path) as file:
            lesions, spacing, origin = (
                np.asarray(file[name], np.float64) for name in ("lesions", "spacing_mm", "origin_mm")
            )
    except _NO_NPZ:
        raise wrong from None
    if lesions.ndim != 3 or not lesions.size or not (lesions.min() >= 0 and lesions.max() <= 1):
        raise wrong
    if spacing.shape != (3,) or origin.shape != (3,) or not (spacing > 0).all():
        raise wrong
    return lesions, spacing, origin


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    part = _part(path)
    with part.open("wb") as file:
        np.save(file, array)
    part.replace(path)


def _part(path: Path) -> Path:
    """Each process has its own: two lines may name one series, which is told only once both are made."""
    return path.with_suffix(f".{os.getpid()}.part")
