"""How the slices of a series lie in the patient: order, spacing, and what keeps them from being a volume.

Slices are ordered along the normal of their orientation; distances come from ImagePositionPatient, never from
SliceThickness or instance numbers. Pure functions over headers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from appliance.imaging.orientation import Orientation, axes
from appliance.reasons import Reason
from appliance.records import Header, Problem, Triple

Float64 = npt.NDArray[np.float64]

_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-3
_TOUCHING_MM = 0.01
_TILT_DEG = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Slices of one size and orientation in order, `order` being their places in the sequence given.

    `heights` are their positions along the normal in mm, ascending; `spacing_mm` is [z, y, x] with the median
    distance for z. `problem` says why they are not one evenly spaced volume, if they are not.
    """

    order: tuple[int, ...]
    heights: tuple[float, ...]
    orientation: Orientation
    size: tuple[int, int, int]
    spacing_mm: Triple
    first_position: Triple
    last_position: Triple
    problem: Problem | None


def stack(headers: Sequence[Header], names: Sequence[str] = ()) -> Stack | Problem:
    """The order and spacing of slices, whatever order they come in; the Problem where they have none.

    There is none where position, orientation or pixel spacing is missing, where orientation, matrix or pixel
    spacing differ, or where two slices lie at one position. `names` is what a Problem calls the slices by,
    else their SOP Instance UIDs.
    """
    names = names or [header.sop_instance_uid for header in headers]
    reference = min(headers, key=lambda header: header.sop_instance_uid)
    problem = _mixture(headers, names, reference)
    if problem is not None:
        return problem
    assert reference.orientation is not None
    assert reference.pixel_spacing is not None
    positions = np.array([header.position for header in headers])
    normal = axes(reference.orientation).normal
    heights = positions @ normal
    order = sorted(range(len(headers)), key=lambda i: (heights[i], headers[i].sop_instance_uid))
    ascending = heights[order]
    in_order = [names[i] for i in order]
    gaps = np.diff(ascending)
    spacing = float(np.median(gaps)) if gaps.size else (reference.slice_thickness or 0.0)
    problem = _several_stacks([headers[i] for i in order], ascending)
    if problem is None and gaps.size and gaps.min() < _TOUCHING_MM:
        at = int(np.argmin(gaps))
        problem = Problem(
            Reason.DUPLICATE_POSITION,
            f"Two slices, {in_order[at]} and {in_order[at + 1]}, lie at {ascending[at]:.1f} mm"
            " along the normal: export the series without repeats.",
        )
    if problem is not None:
        return problem
    first, last = (positions[order[end]] for end in (0, -1))
    return Stack(
        order=tuple(order),
        heights=tuple(map(float, ascending)),
        orientation=reference.orientation,
        size=(len(headers), reference.rows, reference.columns),
        spacing_mm=(spacing, *reference.pixel_spacing),
        first_position=_triple(first),
        last_position=_triple(last),
        problem=_uneven(ascending, spacing, in_order) or _tilt(last - first, normal),
    )


def _triple(vector: Float64) -> Triple:
    return float(vector[0]), float(vector[1]), float(vector[2])


def typical_spacing(headers: Sequence[Header]) -> float:
    """A distance between slices in mm to weigh areas with, even where the slices form no volume."""
    placed = [header for header in headers if header.position and header.orientation]
    thickness = next((header.slice_thickness for header in headers if header.slice_thickness), 1.0)
    if len(placed) < 2:
        return thickness
    reference = min(placed, key=lambda header: header.sop_instance_uid)
    assert reference.orientation is not None
    heights = np.sort(np.array([header.position for header in placed]) @ axes(reference.orientation).normal)
    gaps = np.diff(heights)
    gaps = gaps[gaps > _TOUCHING_MM]
    return float(np.median(gaps)) if gaps.size else thickness


def mixed_patient(headers: Sequence[Header], names: Sequence[str]) -> Problem | None:
    """A series belongs to one study of one patient (PS3.3 A.1.2)."""
    patients = len({header.patient for header in headers})
    studies = len({header.study_uid for header in headers})
    if patients == studies == 1:
        return None
    odd = _unlike_most([(header.patient, header.study_uid) for header in headers])
    return Problem(
        Reason.MIXED_PATIENT,
        f"{_some(odd, names)}: The patient or study is not that of the others under this Series Instance UID"
        f" (patients: {patients}, studies: {studies}): find out which slices belong together, then export"
        " them again.",
    )


def _unlike_most(keys: Sequence[Hashable]) -> list[int]:
    """The places of those that differ from the most common one."""
    ((usual, _),) = Counter(keys).most_common(1)
    return [i for i, key in enumerate(keys) if key != usual]


def some(count: int, total: int, example: str) -> str:
    """How a sentence calls some of the slices."""
    return f"{count} of {total} slices, {example}{' for one' if count > 1 else ''}"


def _some(odd: Sequence[int], names: Sequence[str]) -> str:
    return some(len(odd), len(names), min(names[i] for i in odd))


def _mixture(headers: Sequence[Header], names: Sequence[str], reference: Header) -> Problem | None:
    odd = [i for i, header in enumerate(headers) if header.position is None or header.orientation is None]
    if odd:
        return Problem(
            Reason.MIXED_ORIENTATION,
            f"{_some(odd, names)}: The header has no possible position and orientation, so that the order is"
            " unknown: export the original series.",
        )
    turned = [
        float(np.abs(np.subtract(header.orientation, reference.orientation)).max()) > _SAME_DIRECTION
        for header in headers
        if header.orientation is not None and reference.orientation is not None
    ]
    if any(turned):
        return Problem(
            Reason.MIXED_ORIENTATION,
            f"{_some(_unlike_most(turned), names)}: The orientation is not that of the others: export each"
            " orientation as a series of its own.",
        )
    odd = [i for i, header in enumerate(headers) if header.pixel_spacing is None]
    if odd:
        return Problem(
            Reason.MIXED_SIZE,
            f"{_some(odd, names)}: The header has no possible Pixel Spacing, so that sizes are unknown:"
            " export original images.",
        )
    sizes = [(header.rows, header.columns) for header in headers]
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{rows} × {columns}" for rows, columns in sorted(set(sizes)))
        return Problem(
            Reason.MIXED_SIZE,
            f"{_some(_unlike_most(sizes), names)}: The matrix size is not that of the others ({listed}):"
            " export each as a series of its own.",
        )
    spacings = np.array([header.pixel_spacing for header in headers])
    if float(np.ptp(spacings, axis=0).max()) > _SAME_SPACING:
        odd = _unlike_most([header.pixel_spacing for header in headers])
        return Problem(
            Reason.MIXED_SIZE,
            f"{_some(odd, names)}: The pixel spacing is not that of the others ({spacings.min():g} to"
            f" {spacings.max():g} mm): export each field of view as a series of its own.",
        )
    return None


def _several_stacks(ordered: Sequence[Header], heights: Float64) -> Problem | None:
    """Acquisitions that cover the same range are several volumes; one after the other they are one, and a
    step-and-shoot scanner numbers each of its steps."""
    ranges: dict[int, list[float]] = defaultdict(list)
    for header, height in zip(ordered, heights, strict=True):
        if header.acquisition is not None:
            ranges[header.acquisition].append(float(height))
    spans = sorted((min(span), max(span)) for span in ranges.values())
    for (low, high), (next_low, _) in pairwise(spans):
        if next_low - high < _TOUCHING_MM:
            return Problem(
                Reason.MORE_THAN_ONE_STACK,
                f"The series holds {len(spans)} acquisitions that cover the same range (from {low:.1f} to"
                f" {high:.1f} mm and again from {next_low:.1f} mm): export each as a series of its own.",
            )
    return None


def _uneven(heights: Float64, spacing: float, names: Sequence[str]) -> Problem | None:
    """Distances may jitter as rounded positions do; whole multiples of the usual one are missing slices."""
    gaps = np.diff(heights)
    tolerance = max(0.1, 0.05 * spacing)
    odd = np.flatnonzero(np.abs(gaps - spacing) > tolerance)
    if not odd.size:
        return None
    multiples = np.rint(gaps[odd] / spacing)
    if np.all(multiples >= 2) and np.all(np.abs(gaps[odd] - multiples * spacing) <= tolerance):
        missing = int((multiples - 1).sum())
        at = odd[0]
        return Problem(
            Reason.MISSING_SLICE,
            f"{missing} slice{'s are' if missing > 1 else ' is'} missing, the first between"
            f" {heights[at]:.1f} and {heights[at + 1]:.1f} mm along the normal ({names[at]} and"
            f" {names[at + 1]}), where slices are {spacing:g} mm apart: send the missing files.",
        )
    at = int(np.argmax(np.abs(gaps - spacing)))
    return Problem(
        Reason.UNEVEN_SPACING,
        f"The distance between slices runs from {gaps.min():.2f} to {gaps.max():.2f} mm (furthest off between"
        f" {names[at]} and {names[at + 1]}), with {spacing:g} mm as the median and {tolerance:.2f} mm of play"
        " allowed: reconstruct the series evenly.",
    )


def _tilt(along: Float64, normal: Float64) -> Problem | None:
    """The stack runs along the normal unless the gantry was tilted and the table was not."""
    length = float(np.linalg.norm(along))
    if length == 0:
        return None
    angle = float(np.degrees(np.arccos(np.clip(along @ normal / length, -1, 1))))
    if angle <= _TILT_DEG:
        return None
    return Problem(
        Reason.GANTRY_TILT,
        f"The gantry was tilted by {angle:.1f} degrees, with at most {_TILT_DEG} allowed, so that the slices"
        " are sheared: reconstruct the series without tilt.",
    )
