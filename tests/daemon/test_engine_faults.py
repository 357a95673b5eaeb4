"""Engines that hang, or say what no engine may say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from harness import Appliance
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import default_model, load_model
from engines.spec import to_metadata


def model(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> Path:
    """A model for the shipped one's grid, from `volume` to `probability`."""
    spec = load_model(default_model()).spec.model_copy(
        update={"name": "fault", "input": "volume", "output": "probability", "heatmap": None}
    )
    graph = helper.make_graph(
        nodes,
        "fault",
        [helper.make_tensor_value_info("volume", TensorProto.FLOAT, (1, 1, *spec.grid.size))],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, (1, 1))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, to_metadata(spec))
    onnx.save(made, path)
    return path


def hanging(path: Path) -> Path:
    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["carried", "one"], ["next"]),
        ],
        "forever",
        [
            scalar("turn", TensorProto.INT64, ()),
            scalar("go", TensorProto.BOOL, ()),
            scalar("carried", TensorProto.FLOAT, (1, 1)),
        ],
        [scalar("go_on", TensorProto.BOOL, ()), scalar("next", TensorProto.FLOAT, (1, 1))],
    )
    nodes = [
        helper.make_node("GlobalAveragePool", ["volume"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["start"], axis=1),
        helper.make_node("Loop", ["turns", "yes", "start"], ["probability"], body=body),
    ]
    constants = {
        "turns": np.array(2**62, np.int64),
        "yes": np.array(True),
        "one": np.ones((1, 1), np.float32),
    }
    return model(path, nodes, constants)


def overconfident(path: Path) -> Path:
    """A probability of 600 %."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["volume"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("Mul", ["flat", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "six"], ["probability"]),
    ]
    constants = {"zero": np.zeros((1, 1), np.float32), "six": np.full((1, 1), 6, np.float32)}
    return model(path, nodes, constants)


def test_an_engine_call_past_its_deadline_ends_the_process(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path, model=str(hanging(tmp_path / "hang.onnx")), engine_deadline_s=2)
    with appliance.launched():
        assert appliance.process is not None
        assert appliance.process.wait(30) == 70
    last = json.loads(appliance.log.read_text().splitlines()[-1])
    assert (last["event"], last["hung"]) == ("crashed", True)


def test_an_impossible_probability_is_a_fault_and_nothing_is_read(
    tmp_path: Path, small_chest: Callable[[str], list[Path]]
) -> None:
    appliance = Appliance(tmp_path, model=str(overconfident(tmp_path / "six.onnx")))
    with appliance.launched():
        appliance.wait("known answers were tried", lambda: "known_answers_failed" in appliance.why(), 30)
        appliance.copy(small_chest("covid"), "study")
        appliance.wait("the series waits", lambda: bool(appliance.status()["in_progress"]), 20)
        appliance.wait(
            "it is read as soon as that is possible",
            lambda: appliance.status()["in_progress"][0]["stage"] == "waiting",
            20,
        )
        assert appliance.status()["state"] == "fault"
        assert appliance.findings() == []
        assert appliance.stop() == 0
