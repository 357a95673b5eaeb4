"""How the slices of a series lie in the patient: order, spacing, and what keeps them from being a volume.

Slices are ordered along the normal of their orientation; distances come from ImagePositionPatient, never from
SliceThickness or instance numbers. Pure functions over headers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
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


def stack(headers: Sequence[Header]) -> Stack | Problem:
    """The order and spacing of slices, whatever order they come in; the Problem where they have none.

    There is none where position, orientation or pixel spacing is missing, where orientation, matrix or pixel
    spacing differ, or where two slices lie at one position.
    """
    reference = min(headers, key=lambda header: header.sop_instance_uid)
    problem = _mixture(headers, reference)
    if problem is not None:
        return problem
    assert reference.orientation is not None
    assert reference.pixel_spacing is not None
    positions = np.array([header.position for header in headers])
    normal = axes(reference.orientation).normal
    heights = positions @ normal
    order = sorted(range(len(headers)), key=lambda i: (heights[i], headers[i].sop_instance_uid))
    ascending = heights[order]
    gaps = np.diff(ascending)
    spacing = float(np.median(gaps)) if gaps.size else (reference.slice_thickness or 0.0)
    problem = _several_stacks([headers[i] for i in order], ascending)
    if problem is None and gaps.size and gaps.min() < _TOUCHING_MM:
        at = ascending[int(np.argmin(gaps))]
        problem = Problem(
            Reason.DUPLICATE_POSITION,
            f"Two different slices lie at {at:.1f} mm along the normal: export the series without repeats.",
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
        problem=_uneven(ascending, spacing) or _tilt(last - first, normal),
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


def mixed_patient(headers: Sequence[Header]) -> Problem | None:
    """A series belongs to one study of one patient (PS3.3 A.1.2)."""
    patients = len({header.patient for header in headers})
    studies = len({header.study_uid for header in headers})
    if patients == studies == 1:
        return None
    return Problem(
        Reason.MIXED_PATIENT,
        f"Under one Series Instance UID the slices name {patients} patients and {studies} studies: find out"
        " which slices belong together before the series is exported again.",
    )


def _mixture(headers: Sequence[Header], reference: Header) -> Problem | None:
    unplaced = sum(header.position is None or header.orientation is None for header in headers)
    if unplaced:
        return Problem(
            Reason.MIXED_ORIENTATION,
            f"{unplaced} of {len(headers)} slices carry no valid position and orientation, so that their"
            " order is unknown: export the original series.",
        )
    turned = sum(
        float(np.abs(np.subtract(header.orientation, reference.orientation)).max()) > _SAME_DIRECTION
        for header in headers
        if header.orientation is not None and reference.orientation is not None
    )
    if turned:
        return Problem(
            Reason.MIXED_ORIENTATION,
            f"{turned} of {len(headers)} slices have another orientation than the rest: export each"
            " orientation as a series of its own.",
        )
    if any(header.pixel_spacing is None for header in headers):
        return Problem(
            Reason.MIXED_SIZE,
            "Slices carry no Pixel Spacing, so that their size is unknown: export originals.",
        )
    sizes = {(header.rows, header.columns) for header in headers}
    if len(sizes) > 1:
        listed = ", ".join(f"{rows} × {columns}" for rows, columns in sorted(sizes))
        return Problem(
            Reason.MIXED_SIZE,
            f"The slices have different matrix sizes ({listed}): export each as a series of its own.",
        )
    spacings = np.array([header.pixel_spacing for header in headers])
    if float(np.ptp(spacings, axis=0).max()) > _SAME_SPACING:
        return Problem(
            Reason.MIXED_SIZE,
            f"The pixel spacing runs from {spacings.min():g} to {spacings.max():g} mm: export each field of"
            " view as a series of its own.",
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


def _uneven(heights: Float64, spacing: float) -> Problem | None:
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
            f" {heights[at]:.1f} and {heights[at + 1]:.1f} mm along the normal, where slices are {spacing:g}"
            " mm apart: send the missing files.",
        )
    return Problem(
        Reason.UNEVEN_SPACING,
        f"The distance between slices runs from {gaps.min():.2f} to {gaps.max():.2f} mm, with {spacing:g} mm"
        f" as the median and {tolerance:.2f} mm of play allowed: reconstruct the series evenly.",
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
