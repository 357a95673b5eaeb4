"""What imaging makes of the slices of one series: a volume for the model, or why there is none."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.imaging import eligibility
from appliance.imaging.geometry import Stack, stack
from appliance.imaging.grid import model_volume
from appliance.records import Assessment, Geometry, LungSection, Problem, Slice
from engines.spec import Accepted, Grid

_NO_LUNG = LungSection(0.0, None)


@dataclass(frozen=True, slots=True)
class Policy:
    """Which series are read: what the model accepts, and what a site may choose."""

    accepted: Accepted
    lung_min_ml: float = 500
    axial_tolerance_deg: float = 20


def assess(slices: Sequence[Slice], grid: Grid, policy: Policy) -> Assessment:
    """Geometry, and the volume on the model's grid or the first rule that refuses it.

    `slices` is one or more instances of one series, one for each SOP Instance UID, in any order, which has no
    influence on the result. The geometry is given for every series whose pixels form a volume.
    """
    slices = sorted(slices, key=lambda one: one.header.sop_instance_uid)
    headers = [one.header for one in slices]
    names = [one.arrival.path.name for one in slices]
    placed = stack(headers, names)
    geometry = _geometry(slices, placed)
    lungs = [one.lung or _NO_LUNG for one in slices]
    problem = (
        eligibility.image_type(headers)
        or eligibility.pixel_problem(slices)
        or eligibility.no_lung(headers, lungs, policy.lung_min_ml)
        or eligibility.geometry(headers, names, placed, policy.axial_tolerance_deg)
    )
    if problem is not None or isinstance(placed, Problem):
        return Assessment(geometry, None, problem)
    problem = eligibility.accepted_range(headers, placed, policy.accepted)
    if problem is not None:
        return Assessment(geometry, None, problem)
    planes = [plane for i in placed.order if (plane := slices[i].plane) is not None]
    ordered_lungs = [lungs[i] for i in placed.order]
    volume = model_volume(placed, planes, ordered_lungs, grid)
    if isinstance(volume, Problem):
        return Assessment(geometry, None, volume)
    return Assessment(geometry, volume, None, eligibility.incomplete_lung(ordered_lungs))


def order(slices: Sequence[Slice]) -> list[Slice] | Problem:
    """The slices ascending along the normal of their orientation; the Problem where they have no order."""
    placed = stack([one.header for one in slices], [one.arrival.path.name for one in slices])
    return placed if isinstance(placed, Problem) else [slices[i] for i in placed.order]


def _geometry(slices: Sequence[Slice], placed: Stack | Problem) -> Geometry | None:
    if isinstance(placed, Problem):
        return None
    minima = [one.hu_min for one in slices if one.hu_min is not None]
    maxima = [one.hu_max for one in slices if one.hu_max is not None]
    sums = [one.hu_sum for one in slices if one.hu_sum is not None]
    if len(sums) < len(slices):
        return None
    return Geometry(
        slices=len(slices),
        size=placed.size,
        spacing_mm=placed.spacing_mm,
        orientation=placed.orientation,
        hu_min=min(minima),
        hu_max=max(maxima),
        hu_mean=math.fsum(sums) / math.prod(placed.size),
        hu_sha256=_digest([slices[i] for i in placed.order]),
    )


def _digest(ordered: Sequence[Slice]) -> str | None:
    """SHA-256 of the native grid as little-endian int16; None where a slice did not keep it."""
    digest = hashlib.sha256()
    for one in ordered:
        if one.native is None:
            return None
        digest.update(one.native.astype("<i2", copy=False).tobytes())
    return digest.hexdigest()
