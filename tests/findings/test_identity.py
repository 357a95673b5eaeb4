import pytest

from appliance.findings.identity import file_stem, reading_key, result_name

BASE = {
    "study_uid": "1.2",
    "series_uid": "1.2.3",
    "stack": 1,
    "instances": [("1.2.3.1", "aa"), ("1.2.3.2", "bb")],
    "model_digest": "m",
    "imaging_version": 1,
    "operating_point": 0.5,
}


def test_the_order_of_arrival_does_not_matter() -> None:
    assert reading_key(**BASE) == reading_key(**{**BASE, "instances": BASE["instances"][::-1]})


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("study_uid", "1.3"),
        ("series_uid", "1.2.4"),
        ("stack", 2),
        ("instances", [("1.2.3.1", "aa")]),
        ("instances", [("1.2.3.1", "aa"), ("1.2.3.2", "bc")]),
        ("model_digest", "n"),
        ("imaging_version", 2),
        ("operating_point", 0.5000001),
    ],
)
def test_everything_that_decides_a_reading_is_in_its_key(part: str, other: object) -> None:
    assert reading_key(**{**BASE, part: other}) != reading_key(**BASE)


def test_result_names() -> None:
    assert result_name("1.2.840.1", 1, 3) == "1.2.840.1.r3.json"
    assert result_name("1.2.840.1", 2, 1) == "1.2.840.1.s2.r1.json"


@pytest.mark.parametrize(
    "subject", ["../../etc/passwd", "1..2", "", "1.2\n", "1" * 65, "..", "a/b.dcm", "1.2/"]
)
def test_what_is_no_uid_never_becomes_a_path(subject: str) -> None:
    stem = file_stem(subject)
    assert stem.startswith("x-")
    assert len(stem) == 18
