"""The canary sings for every fault that it is there for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.imaging.slices import read_slice
from appliance.known_answers import SERIES, AnswersWrong, KnownAnswers, expected_of
from appliance.reading import rules_for
from appliance.records import Slice, SlicePlan
from appliance.state_disk import StateDisk
from engines.bundle import embedded_models, load_model
from engines.protocol import Engine
from engines.runner import open_engine

Fault = Callable[[Slice], Slice]


@pytest.fixture(scope="module", params=embedded_models(), ids=lambda path: path.stem)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_engine(request.param)
    yield engine
    engine.close()


def answers(engine: Engine, kept: Path, fault: Fault = lambda one: one) -> KnownAnswers:
    def read_slices(paths: Sequence[Path], plan: SlicePlan) -> list[Slice]:
        return [fault(read_slice(path, plan)) for path in paths]

    return KnownAnswers(engine, rules_for(engine.spec), read_slices, kept, StateDisk())


def scaled(one: Slice) -> Slice:
    assert one.plane is not None
    return replace(one, plane=one.plane * np.float32(1.02))


def reversed_z(one: Slice) -> Slice:
    assert one.header.position is not None
    x, y, z = one.header.position
    return replace(one, header=replace(one.header, position=(x, y, -z)))


def mirrored(one: Slice) -> Slice:
    assert one.plane is not None
    return replace(one, plane=np.ascontiguousarray(one.plane[:, ::-1]))


def swapped(one: Slice) -> Slice:
    assert one.plane is not None
    return replace(one, plane=np.ascontiguousarray(one.plane.T))


def test_the_shipped_answers_are_those_of_the_models_that_ship(engine: Engine, tmp_path: Path) -> None:
    expected = expected_of(engine.digest)
    assert expected is not None, "run python -m tools.expected_answers"
    found = answers(engine, tmp_path).compute()
    assert found.keys() == expected.keys()
    for name, answer in found.items():
        assert answer.differences(expected[name]) == []
    lesion = expected["covid-left"].centroid_mm
    assert lesion is not None
    assert lesion[0] > 30, "on the patient's left"
    assert expected["covid-left"].probability >= engine.spec.operating_point > expected["clear"].probability


@pytest.mark.parametrize("fault", [scaled, reversed_z, mirrored, swapped])
def test_each_fault_trips_the_shipped_answers(fault: Fault, engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(AnswersWrong, match="covid-left"):
        answers(engine, tmp_path, fault).check()
    assert list(tmp_path.iterdir()) == [], "a wrong answer never becomes the expectation"


@pytest.mark.parametrize("fault", [scaled, reversed_z, mirrored, swapped])
def test_each_fault_trips_answers_that_were_made_here(fault: Fault, engine: Engine, tmp_path: Path) -> None:
    made = answers(engine, tmp_path)
    made.keep(made.check())
    answers(engine, tmp_path).check()
    with pytest.raises(AnswersWrong, match="voxel for voxel"):
        answers(engine, tmp_path, fault).check()


def test_answers_of_another_model_are_no_expectation(tmp_path: Path) -> None:
    assert expected_of("0" * 64) is None


def test_the_series_are_small_and_say_that_they_are_phantoms() -> None:
    files = [path for path in SERIES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    for folder in ("covid-left", "clear"):
        assert b"PHANTOM" in next((SERIES / folder).glob("*.dcm")).read_bytes()


def test_no_answers_ship_but_those_of_the_models_that_do() -> None:
    answers = {path.stem: json.loads(path.read_text())["model"] for path in SERIES.glob("*.json")}
    assert answers == {path.stem: load_model(path).digest for path in embedded_models()}
