from pathlib import Path

import pytest

from appliance.intake.completeness import Pace, Sentinel, quiet_s

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
