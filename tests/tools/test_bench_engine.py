"""The engine's benchmark, over a model that takes milliseconds."""

from __future__ import annotations

import json

from command import scanlight

from engines.bundle import embedded_model
from tools.bench.engine import PEER


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
    table = scanlight("bench", "engine", "--model", model, "--threads", "1", "--volumes", "2")
    assert "at most 1000 ms: met" in table.stdout


def test_no_model_is_one_sentence() -> None:
    done = scanlight("bench", "engine", "--model", "/nowhere/model.onnx")
    assert done.returncode == 2
    assert done.stderr.startswith("model model.onnx cannot be read")
