"""Order, spacing and what is no volume. Headers come from real files; most are varied in place."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from synthetic import AXIAL, ct

from appliance.imaging.geometry import Stack, mixed_patient, stack, typical_spacing
from appliance.imaging.header import read_header
from appliance.imaging.orientation import degrees_off_axial, is_transposed
from appliance.reasons import Reason
from appliance.records import Header, Problem

ORIENTATIONS = {
    "axial": AXIAL,
    "feet first": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "oblique": (0.8, 0.6, 0.0, -0.36, 0.48, -0.8),
}


def header() -> Header:
    file = io.BytesIO()
    pydicom.dcmwrite(file, ct(np.zeros((4, 6), int), spacing=(0.7, 0.8)))
    file.seek(0)
    return read_header(file).header


def series(heights: list[float], orientation: tuple[float, ...] = AXIAL, **values: object) -> list[Header]:
    """Slices at these heights along the normal, UIDs in that order."""
    normal = np.cross(orientation[:3], orientation[3:])
    return [
        replace(
            header(),
            orientation=orientation,
            position=tuple(np.array([3.0, -4.0, 5.0]) + height * normal),
            sop_instance_uid=f"1.2.{100 + index}",
            **values,
        )
        for index, height in enumerate(heights)
    ]


def problem_of(headers: list[Header]) -> Problem:
    found = stack(headers)
    problem = found if isinstance(found, Problem) else found.problem
    assert problem is not None
    return problem


EVEN = [2.0 * k for k in range(30)]


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_slices_are_ordered_along_the_normal(orientation: tuple[float, ...]) -> None:
    headers = series(EVEN, orientation)
    shuffled = [headers[i] for i in np.random.default_rng(0).permutation(len(headers))]
    found = stack(shuffled)
    assert isinstance(found, Stack)
    assert found.problem is None
    assert [shuffled[i] for i in found.order] == headers
    assert found.spacing_mm == pytest.approx((2.0, 0.7, 0.8))
    assert found.size == (30, 4, 6)
    assert found.first_position == headers[0].position
    assert found.last_position == headers[-1].position


def test_positions_rounded_by_the_scanner_are_even() -> None:
    found = stack(series([round(k * 1.25, 1) for k in range(40)]))
    assert isinstance(found, Stack)
    assert found.problem is None


@pytest.mark.parametrize(("lost", "count"), [([11], 1), ([11, 12, 20], 3)])
def test_a_gap_of_whole_slices_is_a_missing_slice(lost: list[int], count: int) -> None:
    problem = problem_of(series([height for k, height in enumerate(EVEN) if k not in lost]))
    assert problem.reason is Reason.MISSING_SLICE
    assert problem.detail.startswith(f"{count} slice")
    normal_position = 5.0
    assert f"{EVEN[10] + normal_position:.1f} and" in problem.detail


@pytest.mark.parametrize("jump", [0.9, 1.0, 3.1, -1.94])
def test_any_other_gap_is_uneven_and_still_has_a_median(jump: float) -> None:
    headers = series([height + (jump if k > 20 else 0) for k, height in enumerate(EVEN)])
    found = stack(headers)
    assert isinstance(found, Stack)
    assert found.problem is not None
    assert found.problem.reason is Reason.UNEVEN_SPACING
    assert found.spacing_mm[0] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("spacing", "jitter", "even"), [(1.0, 0.09, True), (1.0, 0.12, False), (5.0, 0.24, True)]
)
def test_the_play_is_a_tenth_of_a_millimetre_or_five_percent(
    spacing: float, jitter: float, even: bool
) -> None:
    heights = [k * spacing for k in range(30)]
    heights[15] += jitter
    found = stack(series(heights))
    assert isinstance(found, Stack)
    assert (found.problem is None) is even


def test_two_slices_at_one_position() -> None:
    assert problem_of(series([*EVEN, 14.0])).reason is Reason.DUPLICATE_POSITION


@pytest.mark.parametrize("degrees", [0.4, 0.6, 16.5])
def test_a_stack_that_leans_was_tilted(degrees: float) -> None:
    headers = series(EVEN)
    lean = np.tan(np.radians(degrees))
    leaning = [
        replace(one, position=(one.position[0], one.position[1] + lean * height, one.position[2]))
        for one, height in zip(headers, EVEN, strict=True)
        if one.position
    ]
    found = stack(leaning)
    assert isinstance(found, Stack)
    if degrees < 0.5:
        assert found.problem is None
    else:
        assert found.problem is not None
        assert found.problem.reason is Reason.GANTRY_TILT
        assert f"{degrees:.1f} degrees" in found.problem.detail


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"orientation": (1.0, 0, 0, 0, 0, -1.0)}, Reason.MIXED_ORIENTATION),
        ({"orientation": None}, Reason.MIXED_ORIENTATION),
        ({"position": None}, Reason.MIXED_ORIENTATION),
        ({"rows": 8}, Reason.MIXED_SIZE),
        ({"pixel_spacing": (0.7, 0.9)}, Reason.MIXED_SIZE),
        ({"pixel_spacing": None}, Reason.MIXED_SIZE),
    ],
)
def test_slices_that_differ_are_no_stack(change: dict[str, object], reason: Reason) -> None:
    headers = series(EVEN)
    headers[7] = replace(headers[7], **change)
    found = stack(headers)
    assert isinstance(found, Problem)
    assert found.reason is reason


def acquisitions(number: Callable[[int], int | None], heights: list[float] = EVEN) -> list[Header]:
    return [replace(one, acquisition=number(index)) for index, one in enumerate(series(heights))]


@pytest.mark.parametrize(
    "number", [lambda _: None, lambda _: 3, lambda k: k, lambda k: 30 - k, lambda k: k // 4], ids=range(5)
)
def test_step_and_shoot_is_one_stack(number: Callable[[int], int | None]) -> None:
    found = stack(acquisitions(number))
    assert isinstance(found, Stack)
    assert found.problem is None


@pytest.mark.parametrize(
    ("heights", "number"),
    [
        (EVEN + EVEN, lambda k: k // 30),
        (EVEN + [height + 1 for height in EVEN], lambda k: k // 30),
        (EVEN + [height + 30 for height in EVEN], lambda k: k // 30),
        ([10.0] * 20, lambda k: k),
    ],
    ids=["twice", "interleaved", "overlapping", "one place over time"],
)
def test_acquisitions_over_the_same_range_are_several(
    heights: list[float], number: Callable[[int], int | None]
) -> None:
    assert problem_of(acquisitions(number, heights)).reason is Reason.MORE_THAN_ONE_STACK


def test_one_slice_has_the_spacing_of_its_thickness() -> None:
    found = stack(series([7.0]))
    assert isinstance(found, Stack)
    assert found.problem is None
    assert found.spacing_mm[0] == 2.0


def test_areas_are_weighed_even_where_there_is_no_volume() -> None:
    headers = series([*EVEN, 14.0])
    assert typical_spacing(headers) == pytest.approx(2.0)
    assert typical_spacing([replace(one, position=None, slice_thickness=3.0) for one in headers]) == 3.0


def test_another_patient_or_study_is_refused() -> None:
    headers = series(EVEN)
    names = [str(number) for number in range(len(headers))]
    assert mixed_patient(headers, names) is None
    for change in ({"patient": "other"}, {"study_uid": "9.9"}):
        problem = mixed_patient([*headers[:-1], replace(headers[-1], **change)], names)
        assert problem is not None
        assert problem.reason is Reason.MIXED_PATIENT


@pytest.mark.parametrize(
    ("orientation", "degrees", "transposed"),
    [
        (AXIAL, 0, False),
        ((0.0, -1.0, 0.0, 1.0, 0.0, 0.0), 0, True),
        ((1.0, 0.0, 0.0, 0.0, np.cos(0.3), np.sin(0.3)), np.degrees(0.3), False),
        ((np.cos(0.3), np.sin(0.3), 0.0, -np.sin(0.3), np.cos(0.3), 0.0), np.degrees(0.3), False),
        (ORIENTATIONS["sagittal"], 90, True),
        ((1.0, 0.0, 0.0, 0.0, 0.0, -1.0), 90, False),
    ],
)
def test_degrees_off_axial(orientation: tuple[float, ...], degrees: float, transposed: bool) -> None:
    assert degrees_off_axial(orientation) == pytest.approx(degrees, abs=1e-6)
    assert is_transposed(orientation) is transposed
