"""The network with random weights, for what does not depend on them: its time and its memory."""

from __future__ import annotations

import torch

from appliance.imaging import IMAGING_VERSION
from engines.spec import ModelSpec
from tools.network.configuration import CONFIGURATIONS, Size
from tools.network.csacnet import CsacNet
from tools.network.export import to_onnx


def untrained(size: Size) -> bytes:
    """An ONNX file whose specification says that it is a placeholder; the same bytes each time."""
    torch.manual_seed(1)
    spec = ModelSpec(
        name=f"csac-net-{size}-untrained",
        version="1",
        imaging_version=IMAGING_VERSION,
        input="hu",
        layout="NCDHW",
        grid=CONFIGURATIONS[size].grid,
        output="probability",
        output_kind="probability",
        heatmap="heatmap",
        operating_point=0.5,
        population="none",
        trained_on="nothing",
        intended_use="placeholder",
        licence="Apache-2.0",
        notice="random weights: what it says means nothing",
    )
    return to_onnx(CsacNet(CONFIGURATIONS[size]), spec)
