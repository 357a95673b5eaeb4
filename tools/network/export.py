"""From a trained network to the ONNX file that the appliance reads: HU in, probability and heatmap out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import onnx
import torch
from torch import Tensor, nn

from engines.spec import ModelSpec, to_metadata
from tools.network.csacnet import Reading, ResNet

OPSET: Final = 18


class _Exported(nn.Module):
    """The network as one function of the volume."""

    def __init__(self, network: ResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, hu: Tensor) -> Reading:
        return self.network.read(hu)


def to_onnx(network: ResNet, spec: ModelSpec) -> bytes:
    """The network as an ONNX file with its specification, for batches of one volume.

    Normalisation is folded into the convolutions. The same weights give the same bytes.
    """
    assert spec.layout == "NCDHW"
    assert spec.heatmap is not None
    was = network.training
    with _quiet():
        program = torch.onnx.export(
            _Exported(network).eval(),
            (torch.zeros(1, 1, *spec.grid.size),),
            input_names=[spec.input],
            output_names=[spec.output, spec.heatmap],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    network.train(was)
    assert program is not None
    model = program.model_proto
    _forget_where_it_was_made(model)
    model.graph.name = spec.name
    model.producer_name, model.producer_version = "scanlight", ""
    onnx.helper.set_model_props(model, to_metadata(spec))
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that it does not need, and of its own insides."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        exporter.setLevel(level)


def _forget_where_it_was_made(model: onnx.ModelProto) -> None:
    """The exporter notes file names and lines of code beside each node and value."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
