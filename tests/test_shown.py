"""What is kept of a series' origin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from imaging.synthetic import chest, write_volume

from appliance.imaging.slices import read_slice
from appliance.records import Origin, Slice, SlicePlan
from appliance.shown import Label, Shown, shown

PLAN = SlicePlan(in_plane_mm=(1.0, 1.0), grid=(1, 1), pixels=False)


@pytest.fixture
def one(tmp_path: Path) -> Slice:
    first = write_volume(tmp_path, chest(24, 16), spacing=(5.0, 20.0, 20.0))[0]
    return replace(read_slice(first, PLAN), origin=Origin("CT1", "ACC-2026-4711", 3))


@pytest.mark.parametrize(
    ("label", "kept"), [("none", ""), ("accession_end", "…4711"), ("accession", "ACC-2026-4711")]
)
def test_of_an_accession_number_as_much_is_kept_as_the_site_lets_be_shown(
    label: Label, kept: str, one: Slice
) -> None:
    found = shown(one, label)
    assert (found.station, found.label, found.number) == ("CT1", kept, 3)
    assert found.kernel in ("soft", "sharp", "unknown")


def test_where_nothing_is_known_nothing_is_shown(one: Slice) -> None:
    assert replace(shown(replace(one, origin=Origin()), "accession"), kernel=None) == Shown()


def test_a_text_without_end_is_cut(one: Slice) -> None:
    found = shown(replace(one, origin=Origin("s" * 1000, "a" * 1000, 2**40)), "accession")
    assert (len(found.station), len(found.label), found.number) == (64, 64, None)
