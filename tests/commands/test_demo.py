"""The demonstration shows what it is for."""

from __future__ import annotations

import re

import pytest
from command import scanlight

pytestmark = pytest.mark.slow


def test_the_covid_like_chest_is_flagged_and_the_others_are_not() -> None:
    done = scanlight("demo", "--once", "--port", "0", env={"COLUMNS": "160"})
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.partition("\nseries ")[2]
    found = dict(
        re.findall(r"^\d\. (.*? chest.*?)  +(flagged|not flagged|not analysed)", table, re.MULTILINE)
    )
    assert found == {
        "COVID-like chest phantom": "flagged",
        "clear chest phantom": "not flagged",
        "CAP-like chest phantom": "not flagged",
        "clear chest phantom that lacks a slice": "not analysed",
    }
