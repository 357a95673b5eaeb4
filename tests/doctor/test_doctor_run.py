"""A test of an installation that cannot work says so, and goes on where it can."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_bundle import make_bundle

from appliance.config import Config
from tools.doctor.arrival import arrival, limit
from tools.doctor.cases import LabelledCases
from tools.doctor.check import Verdict
from tools.doctor.run import Plan, examine
from tools.doctor.service import user
from tools.problem import WrongInput

Site = Callable[..., Config]
PLAN = Plan(seconds=0.1, arrivals=1)


def silent(what: str) -> None:
    """Of what goes on."""


def test_a_flipped_byte_of_a_bundle_fails_and_the_folders_are_looked_at(site: Site, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / "engine.plan").write_bytes(b"vtrs")
    report = examine(site(model=bundle), PLAN, silent)
    assert report.names(Verdict.FAILED) == ("Hashes of the model",)
    assert next(report.checks).measured.startswith(
        "bundle bundle was changed after it was built: engine.plan"
    )
    assert not report.passed
    assert report.subject is None
    assert "State disk" in report.names(Verdict.PASSED)


def test_a_gpu_that_is_asked_for_and_not_there_fails(site: Site, tmp_path: Path) -> None:
    report = examine(site(model=make_bundle(tmp_path / "bundle"), engine="tensorrt"), PLAN, silent)
    assert report.names(Verdict.FAILED) == ("Engine",)
    assert not report.passed


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("path,label\na,perhaps\n", "line 2, column label: it is neither 1 nor 0"),
        ("path,label\na,1\na,0\n", "line 3, column path: it stands in line 2 already"),
        ("path,label\n,1\na,0\n", "line 2, column path: it is empty"),
        ("id,label\na,1\nb,0\n", "there is no column 'path'"),
    ],
)
def test_a_wrong_table_of_labels_is_told_before_anything_takes_minutes(
    site: Site, tmp_path: Path, table: str, said: str
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(table)
    told: list[str] = []
    plan = Plan(cases=LabelledCases(tmp_path, labels, 0.9, 0.9))
    with pytest.raises(WrongInput, match=said):
        examine(site(), plan, told.append)
    assert told == []


@pytest.mark.parametrize(("label", "word"), [(1, "specificity"), (0, "sensitivity")])
def test_labels_of_one_class_are_told_before_anything_takes_minutes(
    site: Site, tmp_path: Path, label: int, word: str
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(f"path,label\na,{label}\nb,{label}\n")
    told: list[str] = []
    plan = Plan(cases=LabelledCases(tmp_path, labels, 0.9, 0.9))
    with pytest.raises(WrongInput, match=f"no case has label {1 - label}: add some, for there is no {word}"):
        examine(site(), plan, told.append)
    assert told == []


@pytest.mark.parametrize(
    ("settings", "polled", "seconds"),
    [
        ({}, False, 2.5),
        ({"completeness": {"floor_s": 0.5}}, False, 1.5),
        ({}, True, 31.0),
        ({"rescan_s": 0.5}, True, 3.0),
    ],
)
def test_a_flag_is_due_a_second_after_the_quiet(
    site: Site, settings: dict[str, Any], polled: bool, seconds: float
) -> None:
    assert limit(site(**settings), polled)[0] == seconds


@pytest.mark.slow
def test_a_polled_folder_is_tested_as_one(site: Site, tmp_path: Path) -> None:
    told: list[str] = []
    own = tmp_path / "own"
    own.mkdir()
    check = arrival(site(polling="on", rescan_s=1), own, 9, told.append)
    assert told == [f"Last slice to flag: {done} of 3" for done in (1, 2, 3)]
    assert check.limit == (
        "the slowest within 4 s: 2 s of quiet and 1 s between two looks at a polled folder, and 1 s"
    )
    assert float(check.measured.split()[1]) >= 2


@pytest.mark.slow
def test_a_daemon_that_does_not_start_fails(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that runs and is never ready; less than the minute that it is given shows it."""
    monkeypatch.setattr("tools.own_daemon.START_S", 10.0)
    (tmp_path / "own").mkdir()
    check = arrival(site(engine="tensorrt"), tmp_path / "own", 1, silent)
    assert check.verdict is Verdict.FAILED
    assert "not ready after" in check.measured


def test_what_another_user_may_do_says_nothing_of_the_service(site: Site) -> None:
    config = site()
    assert user(config).verdict is Verdict.PASSED
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(config.state_folder, 4711, 4711)
    check = user(config)
    assert (check.verdict, check.measured) == (Verdict.NOT_DONE, "root, not 4711")
    assert check.remedy == "sudo -u 4711 scanlight doctor"
