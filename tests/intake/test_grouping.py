"""Two slices under one SOP Instance UID: copies, corrections, and what can be neither."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
from imaging.synthetic import ct, save

from appliance.imaging.slices import read_slice
from appliance.intake.grouping import Copy, group, merge
from appliance.reasons import Reason
from appliance.records import Slice, SlicePlan

PLAN = SlicePlan((4.0, 4.0), (32, 32))


def slice_at(path: Path, height: float, hu: int = 0) -> Slice:
    return read_slice(save(ct(np.full((4, 6), hu), (0, 0, height)), path), PLAN)


def merged(slices: Sequence[Slice]) -> Slice:
    counts, _ = merge(None, slices[0])
    for one in slices[1:]:
        counts, _ = merge(counts, one)
    return counts


def test_a_copy_changes_nothing_and_of_a_correction_the_latest_counts(tmp_path: Path) -> None:
    first, copy = slice_at(tmp_path / "a", 10), slice_at(tmp_path / "b", 10)
    assert merge(None, first) == (first, Copy.NEW)
    assert merge(first, copy)[1] is Copy.SAME
    corrected = slice_at(tmp_path / "c", 10, hu=50)
    assert merge(first, corrected) == (corrected, Copy.REPLACES)


def test_which_correction_is_the_latest_does_not_depend_on_the_order_of_reading(tmp_path: Path) -> None:
    first, corrected = slice_at(tmp_path / "b", 10), slice_at(tmp_path / "a", 10, hu=50)
    assert merge(corrected, first) == (corrected, Copy.OUTDATED)
    withdrawn = slice_at(tmp_path / "c", 10)
    for number, one in enumerate((first, corrected, withdrawn)):
        os.utime(one.arrival.path, ns=(0, number))
    for order in permutations((first, corrected, withdrawn)):
        counts = merged([read_slice(one.arrival.path, PLAN) for one in order])
        assert counts.content_sha256 == first.content_sha256


def test_a_file_written_anew_counts_as_it_is_now(tmp_path: Path) -> None:
    before, after = slice_at(tmp_path / "a", 10), slice_at(tmp_path / "a", 20)
    assert merge(before, after) == (after, Copy.REPLACES)


def test_one_uid_at_several_positions_is_the_same_problem_in_any_order(tmp_path: Path) -> None:
    slices = [slice_at(tmp_path / name, height) for name, height in (("a", 10), ("b", 20), ("c", 20))]
    ((counts,),) = group(slices).values()
    for order in permutations(slices):
        found = merged(order)
        assert found.problem is not None
        assert found.problem.reason is Reason.DUPLICATE_POSITION
        assert found.content_sha256 == counts.content_sha256


def test_a_correction_does_not_hide_a_uid_at_several_positions(tmp_path: Path) -> None:
    slices = [slice_at(tmp_path / "a", 10), slice_at(tmp_path / "b", 20), slice_at(tmp_path / "c", 20, hu=50)]
    for order in permutations(slices):
        assert merged(order).problem is not None
