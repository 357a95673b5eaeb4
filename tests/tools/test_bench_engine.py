"""The engine's benchmark, over a model that takes milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import scanlight
from faulty_models import slow

from engines.bundle import embedded_model
from tools.bench.engine import PEER
from tools.network.configuration import CONFIGURATIONS, Size


def test_each_number_of_threads_and_the_peer_take_turns() -> None:
    model = embedded_model("densitometry")
    done = scanlight("bench", "engine", "--model", model, "--threads", "1", "--volumes", "3", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["grid"]) == ("densitometry", [80, 128, 128])
    assert [one["name"] for one in found["results"]] == ["1 thread", PEER]
    for one in found["results"]:
        assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] <= one["slowest_ms"]
        assert one["processor_s"] > 0
        assert one["peak_mb"] > 20
    assert found["results"][1]["ratio_to_peer"] == 1
    assert (found["bar_p95_ms"], found["met"]) == (1000, True)
    table = scanlight("bench", "engine", "--model", model, "--threads", "1", "--volumes", "2")
    assert "95th percentile at most 1000 ms: met" in table.stdout


@pytest.mark.slow
def test_the_model_that_ships_is_held_to_a_second_on_two_threads() -> None:
    done = scanlight("bench", "engine", "--threads", "2", "--volumes", "15", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["met"]) == ("csac-net-edge", True)
    assert found["results"][0]["p50_ms"] < 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "code", "said"),
    [
        ("edge", 1, "95th percentile at most 1000 ms: missed"),
        ("full", 0, "no bar: 95th percentile at most 1000 ms is for 80 x 128 x 128 voxels"),
    ],
)
def test_a_slow_engine_misses_the_bar_of_its_grid_if_it_has_one(
    tmp_path: Path, size: Size, code: int, said: str
) -> None:
    model = slow(tmp_path / "slow.onnx", CONFIGURATIONS[size].grid)
    done = scanlight("bench", "engine", "--model", model, "--threads", "1", "--volumes", "2")
    assert done.returncode == code, done.stderr
    assert said in " ".join(done.stdout.split())


def test_threads_that_cannot_be_had_are_no_missed_bar() -> None:
    model = embedded_model("densitometry")
    done = scanlight("bench", "engine", "--model", model, "--threads", "1", "--threads", "2000000000")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().endswith("as told above: try it with scanlight read --model.")


def test_no_model_is_one_sentence() -> None:
    done = scanlight("bench", "engine", "--model", "/nowhere/model.onnx")
    assert done.returncode == 2
    assert done.stderr.startswith("model model.onnx cannot be read")
