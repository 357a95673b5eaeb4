"""What a study is, from its series."""

from __future__ import annotations

from itertools import count

import pytest

from appliance.findings.record import SeriesRecord
from appliance.journal import FindingRow, Mark, StudySeriesRow
from appliance.reasons import Outcome
from appliance.studies import Study, StudyState, earlier_flag, studies, time_to_flag_s

NUMBERS = count(1)
FLAGGED, NOT_FLAGGED, SKIPPED, NOT_ANALYSED, FAILED = (
    Outcome.FLAGGED,
    Outcome.NOT_FLAGGED,
    Outcome.SKIPPED,
    Outcome.NOT_ANALYSED,
    Outcome.FAILED,
)
SEEN_BY = (Mark.SEEN, "2026-03-01T09:00:00.000Z", "Dr. Seen")
ACKNOWLEDGED_BY = (Mark.ACKNOWLEDGED, "2026-03-01T09:00:00.000Z", "Dr. Example")


def finding(
    outcome: Outcome, *, attention: bool = False, marked: tuple[Mark, str, str] | None = None
) -> FindingRow:
    number = next(NUMBERS)
    at = f"2026-03-01T08:00:{number % 60:02}.000Z"
    return FindingRow(number, 1, outcome, None, None, at, attention, marked)


def series(
    *findings: FindingRow, id_: int = 1, ended: bool = True, kernel: str | None = "soft", label: str = ""
) -> StudySeriesRow:
    seen = "2026-03-01T07:59:00.000Z"
    return StudySeriesRow(
        1, id_, f"1.2.3.{id_}", 1, False, "CT1", label, 2, kernel, seen, ended, False, findings
    )


def only(*rows: StudySeriesRow) -> Study:
    (study,) = studies(rows).values()
    return study


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([series(finding(FLAGGED, attention=True))], "suspect"),
        ([series(finding(FLAGGED, attention=True), finding(NOT_FLAGGED))], "suspect"),
        ([series(finding(FLAGGED, attention=True)), series(ended=False, id_=2)], "suspect"),
        (
            [series(finding(NOT_ANALYSED, attention=True)), series(finding(FLAGGED, attention=True), id_=2)],
            "suspect",
        ),
        (
            [series(finding(NOT_ANALYSED, attention=True)), series(finding(FAILED, attention=True), id_=2)],
            "not_analysed",
        ),
        ([series(finding(FAILED, attention=True)), series(finding(NOT_FLAGGED), id_=2)], "failed"),
        ([series(ended=False)], "in_progress"),
        ([series(finding(NOT_FLAGGED)), series(ended=False, id_=2)], "in_progress"),
        ([series(finding(FLAGGED, marked=ACKNOWLEDGED_BY))], "acknowledged"),
        ([series(finding(FLAGGED, marked=ACKNOWLEDGED_BY), finding(NOT_FLAGGED))], "acknowledged"),
        ([series(finding(NOT_ANALYSED, marked=SEEN_BY)), series(finding(NOT_FLAGGED), id_=2)], "seen"),
        ([series(finding(NOT_FLAGGED)), series(finding(SKIPPED), id_=2)], "no_flag"),
        ([series(finding(SKIPPED))], "skipped"),
    ],
)
def test_the_state_is_what_somebody_should_look_at_first(rows: list[StudySeriesRow], state: str) -> None:
    assert only(*rows).state == StudyState(state)


def test_a_study_has_the_time_of_its_newest_finding_and_a_label_where_one_is_known() -> None:
    old, new = finding(SKIPPED), finding(NOT_FLAGGED)
    study = only(series(new, id_=1), series(old, id_=2, label="…1234"))
    assert (study.newest, study.at, study.label) == (new, new.recorded_at, "…1234")
    assert only(series(ended=False)).at == "2026-03-01T07:59:00.000Z"


def test_an_earlier_flag_stays_known() -> None:
    withdrawn = series(finding(FLAGGED, attention=True), finding(NOT_FLAGGED))
    assert earlier_flag(withdrawn)
    assert only(withdrawn).flagged_ever
    for other in (series(finding(FLAGGED)), series(finding(NOT_FLAGGED)), series()):
        assert not earlier_flag(other)
    assert not only(series(finding(NOT_FLAGGED))).flagged_ever


def test_the_last_mark_counts_with_its_name() -> None:
    later = (Mark.ACKNOWLEDGED, "2026-03-01T10:00:00.000Z", "Dr. Later")
    study = only(series(finding(FLAGGED, marked=ACKNOWLEDGED_BY), finding(FLAGGED, marked=later)))
    assert study.marked(Mark.ACKNOWLEDGED) == later[1:]
    assert study.marked(Mark.SEEN) is None


def read(spacing: float, slices: int) -> SeriesRecord:
    return SeriesRecord(outcome=NOT_FLAGGED, spacing_mm=(spacing, 1.0, 1.0), slices=slices)


@pytest.mark.parametrize(
    ("kernels", "records", "best"),
    [
        (("sharp", "soft", None), (read(1, 300), read(5, 60), read(1, 300)), 2),
        (("sharp", None), (read(1, 300), read(5, 60)), 2),
        (("soft", "soft"), (read(5, 60), read(1, 300)), 2),
        (("soft", "soft"), (read(1, 60), read(1, 300)), 2),
        (("soft", "soft"), (read(1, 300), read(1, 300)), 1),
    ],
)
def test_the_best_ranked_reading_is_shown(
    kernels: tuple[str | None, ...], records: tuple[SeriesRecord, ...], best: int
) -> None:
    rows = [series(finding(NOT_FLAGGED), id_=n, kernel=kernel) for n, kernel in enumerate(kernels, 1)]
    shown = only(*rows).shown(dict(enumerate(records, 1)))
    assert shown is not None
    assert shown.id == best


def test_a_flag_is_shown_whatever_it_was_read_from() -> None:
    rows = [series(finding(NOT_FLAGGED), id_=1), series(finding(FLAGGED), id_=2, kernel="sharp")]
    shown = only(*rows).shown({1: read(1, 300), 2: read(5, 60)})
    assert shown is not None
    assert (shown.id, only(*rows).outcome) == (2, FLAGGED)


@pytest.mark.parametrize(
    ("outcome", "last_slice_at", "took"),
    [
        (FLAGGED, "2026-03-01T08:00:00.000Z", 3.4),
        (FLAGGED, "2026-03-01T08:00:09.000Z", None),
        (FLAGGED, None, None),
        (NOT_FLAGGED, "2026-03-01T08:00:00.000Z", None),
    ],
)
def test_the_time_to_a_flag(outcome: Outcome, last_slice_at: str | None, took: float | None) -> None:
    at = "2026-03-01T08:00:03.400Z"
    record = SeriesRecord(outcome=outcome, last_slice_at=last_slice_at, recorded_at=at)
    assert time_to_flag_s(record) == took
