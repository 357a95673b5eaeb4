"""The parity report says what was measured, to a program and to a physicist."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import built_networks as networks
import pytest
from test_build_parity import silent
from test_build_volumes import CHESTS

from engines.onnxruntime import OnnxRuntimeEngine
from engines.spec import ModelSpec
from tools.build_engine.plan import Plan, Target
from tools.build_engine.report import UNTRAINED, Report, as_json, as_page
from tools.build_engine.settle import settle
from tools.build_engine.volumes import gather

PLAN = Plan(b"vtrt" + bytes(100_000), "1.7.1.116", ("8.6", "12.0"), None, None, {"workspace_bytes": 5})


def report(folder: Path, spec: ModelSpec = networks.SPEC) -> Report:
    source = networks.source(networks.network(spec=spec, middle=0.28), folder)
    trained = spec.intended_use != "placeholder"
    volumes = gather(OnnxRuntimeEngine(source.file), CHESTS, trained, silent)
    settled = settle(source.graph, spec, volumes, False, silent)
    assert settled.outcome.problem == ""
    return Report(source, settled, Target("rtx"), PLAN)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report(tmp_path_factory.mktemp("report"))


def test_as_json(made: Report) -> None:
    told = json.loads(as_json(made))
    assert told["model"] == {"name": "small", "version": "1", "digest": made.source.file.digest}
    assert told["limits"] == {
        "largest_delta": 0.01,
        "least_correlation": 0.99,
        "largest_activation": 65504.0,
    }
    assert told["measured"]["volumes"] == len(told["volumes"]) >= 50
    assert told["measured"]["near"] == sum(row["near"] for row in told["volumes"]) >= 20
    assert told["measured"]["largest_delta"] == max(row["delta"] for row in told["volumes"]) <= 0.01
    largest = [one["largest"] for one in told["ranges"]]
    assert largest == sorted(largest, reverse=True)
    assert told["ranges"][0] == {"tensor": "hu", "operator": "input", "precision": "FP16", "largest": 30000.0}
    operators = {one["tensor"]: one["operator"] for one in told["ranges"]}
    assert (operators["scaled"], operators["first"]) == ("Mul", "Conv constant_4")
    assert {one["tensor"]: one["why"] for one in told["in_fp32"]} == dict.fromkeys(
        ("mean", "flat", "logit", "probability", "heatmap"), "head and heatmap"
    )


class Text(HTMLParser):
    """The cells, and whatever would be fetched from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.fetched: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.fetched += [value for name, value in attributes if name in ("src", "href") and value]
        self.fetched += [tag] if tag == "script" else []

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_as_a_page(made: Report) -> None:
    page = as_page(made)
    text = Text(page)
    assert text.fetched == []
    assert {
        "FP16 parity of small",
        "passed",
        "all bone",
        "head and heatmap",
        "8.6, 12.0",
        "workspace bytes",
    } <= set(text.text)
    assert UNTRAINED not in text.text
    assert "color-scheme: light dark" in page


def test_of_a_placeholder_it_says_what_was_not_asked(tmp_path: Path) -> None:
    spec = networks.SPEC.model_copy(update={"intended_use": "placeholder", "name": "<b>random</b>"})
    one = report(tmp_path, spec)
    page = as_page(one)
    assert UNTRAINED in Text(page).text
    assert "<b>random" not in page
    told = json.loads(as_json(one))
    assert told["limits"]["least_correlation"] is None
    assert told["measured"]["trained"] is False
