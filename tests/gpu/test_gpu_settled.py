"""What is kept for `make gpu-check` is of the model that ships, and of no other."""

from __future__ import annotations

import hashlib

from engines.bundle import default_model
from tools.build_engine.graph import key
from tools.build_engine.settle import MOST_IN_FP32, always_fp32, share_of
from tools.build_engine.source import read_source
from tools.gpu.settled import settled


def test_it_is_of_the_model_that_ships() -> None:
    source = read_source(default_model())
    kept = settled(source.file.digest)
    assert kept is not None, "a new model: python -m tools.gpu.settled BUNDLE"
    assert kept <= {key(node) for node in source.graph.graph.node}
    assert kept >= always_fp32(source.graph, all_half=False).keys()
    assert 0.01 < share_of(source.graph, kept) <= MOST_IN_FP32


def test_of_another_model_nothing_is_known() -> None:
    assert settled(hashlib.sha256(b"another").hexdigest()) is None
