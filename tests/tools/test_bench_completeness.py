"""The completeness bench: its exporters do what they are named for, it sees what goes wrong, and nothing does
on a real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from command import scanlight

from appliance.findings.record import SeriesRecord
from appliance.reasons import Outcome
from tools.bench.completeness_arrivals import PATTERNS, Pattern, Tempo, steady
from tools.bench.completeness_clock import MISSING, Clock
from tools.bench.completeness_exporter import PIXEL_DATA, SENTINEL, Exported, Exporter
from tools.bench.completeness_outcomes import Bar, Told, bars, row_of

SLICES = 40
TEMPO = Tempo(gap_s=0.02, floor_s=0.5, ceiling_s=5.0)


def content(index: int) -> bytes:
    return b"header " + PIXEL_DATA + b"OW\0\0size" + bytes([1 + index]) * 2000


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_every_script_leaves_the_files_as_they_are_to_be(pattern: Pattern, tmp_path: Path) -> None:
    steps = pattern.script(SLICES, TEMPO)
    assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)
    clock: list[int] = []
    exporter = Exporter(tmp_path / "export", "a", content, tmp_path / "hidden", clock.append)
    exporter.play([replace(step, at_s=0.0) for step in steps])
    files = {path.name: path.read_bytes() for path in exporter.folder.iterdir() if path.name != SENTINEL}
    whole = SLICES if pattern.whole else SLICES // 2
    assert files == {f"a{index + 1:04d}.dcm": content(index) for index in range(whole)}
    assert (exporter.folder / SENTINEL).exists() == ("sentinel" in pattern.name)
    assert bool(clock) == (pattern.place == "clock")


def test_stalls_shrink_with_the_ceiling() -> None:
    named = {pattern.name: pattern for pattern in PATTERNS}
    steps = named["stall of 20 s in mid-chest"].script(SLICES, TEMPO)
    gaps = [after.at_s - before.at_s for before, after in pairwise(steps)]
    assert max(gaps) == pytest.approx(20 * 5 / 30 + TEMPO.gap_s)
    assert gaps.index(max(gaps)) == SLICES // 2 - 1


def test_the_clock_of_one_process_is_set_and_its_monotonic_clock_is_not(tmp_path: Path) -> None:
    clock = Clock.in_folder(tmp_path / "clock")
    if clock is None:
        pytest.skip(MISSING)

    def clocks() -> tuple[float, float]:
        code = "import time; time.sleep(0.01); print(time.time(), time.monotonic())"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **clock.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        wall, monotonic = map(float, done.stdout.split())
        return wall, monotonic

    true, clock_before = clocks()
    clock.set(-86400)
    back, monotonic = clocks()
    assert back - true == pytest.approx(-86400, abs=60)
    assert 0 < monotonic - clock_before < 60


def told(outcome: Outcome, key: str, at: float) -> Told:
    return Told(SeriesRecord(outcome=outcome, reading_key=key, revision=1), at)


EXPORTED = Exported(last_slice=100.0, last_slice_at=1e9)
STEADY = Pattern("steady", steady)
NO_FLAG, FLAG = Outcome.NOT_FLAGGED, Outcome.FLAGGED


def judged(pattern: Pattern, *findings: Told, final: str = "all", defaults: bool = True) -> dict[str, Bar]:
    row = row_of(pattern, "phantom", SLICES, EXPORTED, findings, 0, final)
    return {bar.name: bar for bar in bars([row], defaults=defaults)}


def test_a_no_flag_of_a_part_is_counted_though_it_was_superseded() -> None:
    found = judged(STEADY, told(NO_FLAG, "part", 90), told(FLAG, "all", 102))
    assert (found["no_flag_delivered_on_partial"].value, found["unsuperseded"].value) == (1, 0)
    assert not found["no_flag_delivered_on_partial"].met


def test_a_flag_of_a_part_is_no_offence_and_the_last_revision_counts() -> None:
    found = judged(STEADY, told(FLAG, "part", 90), told(FLAG, "all", 102))
    assert [bar.met for bar in found.values()] == [True, True, True]
    assert found["median_last_slice_to_flag_s"].value == 2.0


def test_a_late_flag_misses_its_bar_unless_the_settings_are_others() -> None:
    late = told(FLAG, "all", 102.6)
    assert judged(STEADY, late)["median_last_slice_to_flag_s"].met is False
    assert judged(STEADY, late, defaults=False)["median_last_slice_to_flag_s"].met is None


@pytest.mark.parametrize("findings", [(), (told(FLAG, "part", 90),)])
def test_a_series_that_ends_with_a_part_or_with_nothing_is_unsuperseded(findings: tuple[Told, ...]) -> None:
    found = judged(STEADY, *findings)["unsuperseded"]
    assert (found.value, found.met) == (1, False)


def test_a_part_beyond_the_ceiling_that_cuts_no_lung_may_be_told_of() -> None:
    found = judged(replace(STEADY, tells_part=True), told(NO_FLAG, "part", 90), told(NO_FLAG, "all", 132))
    assert found["no_flag_delivered_on_partial"].met


def test_an_export_that_never_goes_on_must_not_end_without_a_flag() -> None:
    never = replace(STEADY, whole=False)
    assert not judged(never, told(NO_FLAG, "all", 132))["no_flag_delivered_on_partial"].met
    assert judged(never, told(Outcome.NOT_ANALYSED, "all", 132))["no_flag_delivered_on_partial"].met


@pytest.mark.slow
def test_no_pattern_leaves_a_wrong_finding_behind() -> None:
    done = scanlight("bench", "completeness", "--fast", "--json")
    report = json.loads(done.stdout)
    wrong = [row for row in report["series"] if not row["final"] or row["no_flag_delivered_on_partial"]]
    assert wrong == []
    assert done.returncode == 0, done.stderr
    assert {name: bar["value"] for name, bar in report["bars"].items() if bar["met"] is not None} == {
        "no_flag_delivered_on_partial": 0,
        "unsuperseded": 0,
    }
    assert report["bars"]["median_last_slice_to_flag_s"]["value"] > 0

    rows = {(row["pattern"], row["source"]): row for row in report["series"]}
    patterns = {pattern.name for pattern in PATTERNS} - report["not_run"].keys()
    assert rows.keys() == {(name, f"{kind} phantom") for name in patterns for kind in ("covid", "clear")}
    assert set(report["not_run"].values()) <= {MISSING}
    for (name, source), row in rows.items():
        if name == "ends in mid-chest for good":
            assert row["outcome"] in ("flagged", "not_analysed"), source
        else:
            assert row["outcome"] == ("flagged" if source == "covid phantom" else "not_flagged"), name
    # The stalls do lead to readings of a part, of which only a flag is told.
    assert rows["stall of 20 s near the end", "covid phantom"]["revised"] == ["flagged"]
    assert rows["stall of 20 s near the end", "clear phantom"]["revised"] == []
    assert rows["stall of 45 s in mid-chest", "clear phantom"]["revised"] == ["not_analysed"]
    assert report["readings_superseded"] > 0
