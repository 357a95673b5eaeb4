from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.imaging.slices import read_slice
from appliance.intake.completeness import Pace, Sentinel, count_reached, quiet_s
from appliance.records import SlicePlan

PLAN = SlicePlan((3.2, 3.2), (128, 128), pixels=False)
PACE = Pace(floor_s=1.5, ceiling_s=30, k=4)


@pytest.mark.parametrize(
    ("gaps", "quiet"),
    [
        ([], 1.5),
        ([0.01] * 50, 1.5),
        ([1.0] * 19 + [9.0], 4.0),  # the 95th percentile of 20 is the 19th
        ([1.0] * 18 + [9.0, 9.0], 30.0),
        ([100.0], 30.0),
        ([0.5], 2.0),
    ],
)
def test_quiet_is_k_times_the_95th_percentile_between_floor_and_ceiling(
    gaps: list[float], quiet: float
) -> None:
    assert quiet_s(gaps, PACE) == quiet


@given(st.lists(st.floats(0, 1000), max_size=50), st.floats(0, 1000))
def test_quiet_keeps_to_its_bounds_and_grows_with_a_gap(gaps: list[float], gap: float) -> None:
    quiet = quiet_s(gaps, PACE)
    assert PACE.floor_s <= quiet <= PACE.ceiling_s
    longest = max((gap, *gaps))
    assert quiet_s([*gaps, longest], PACE) >= quiet


@pytest.mark.parametrize(
    ("counts", "reached"),
    [
        ([3, 3, 3], True),
        ([3, 3], False),
        ([2, 2, 2], False),  # it counts something else
        ([3, 3, None], False),
        ([3, 3, 4], False),
        ([None], False),
        ([], False),
    ],
)
def test_a_count_is_reached_by_just_so_many_that_agree(
    counts: list[int | None], reached: bool, small_chest: Callable[[str], list[Path]]
) -> None:
    one = read_slice(small_chest("clear")[0], PLAN).header
    assert count_reached([replace(one, images_in_series=count) for count in counts]) is reached


def test_a_sentinel_matches_by_name_and_case() -> None:
    sentinel = Sentinel("*.done")
    assert sentinel.matches(Path("/x/series.done"))
    assert not sentinel.matches(Path("/x/series.DONE"))
    assert not sentinel.matches(Path("/x.done/series"))


def test_a_sentinel_covers_its_folder_or_the_study_with_files_in_it() -> None:
    here, there = Path("/e/1"), Path("/e/2")
    assert Sentinel("done").covers(here / "done", {here}, {here, there})
    assert not Sentinel("done").covers(here / "done", {there}, {here, there})
    assert Sentinel("done", "study").covers(here / "done", {there}, {here, there})
