"""`scanlight model placeholder`: the network before any training, to build and to time engines of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from appliance import durable
from appliance.imaging import IMAGING_VERSION
from engines.spec import ModelSpec
from tools.needs import needs
from tools.network.configuration import CONFIGURATIONS, Size
from tools.problem import one_sentence

_SEED: Final = 1


def placeholder(
    out: Annotated[Path, typer.Option(metavar="MODEL.onnx", help="The file to write.")],
    size: Annotated[Size, typer.Option(help="Which of the two sizes.")] = "full",
) -> None:
    """Write 3D CSAC-Net with random weights as an ONNX model: it costs what a trained one does, and knows
    nothing."""
    with needs("train"):
        content = untrained(size)
    with one_sentence():
        durable.write(out, content)
    typer.echo(f"{out}: {len(content) / 1e6:.1f} MB, with random weights")


def untrained(size: Size) -> bytes:
    """The ONNX file, the same bytes each time. Raises ModuleNotFoundError without PyTorch."""
    import torch  # noqa: PLC0415

    from tools.network.csacnet import CsacNet  # noqa: PLC0415
    from tools.network.export import to_onnx  # noqa: PLC0415

    torch.manual_seed(_SEED)
    network = CsacNet(CONFIGURATIONS[size])
    for module in network.modules():
        # A network begins with silent branches; one that was trained has none.
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return to_onnx(network, _spec(size))


def _spec(size: Size) -> ModelSpec:
    return ModelSpec(
        name=f"csac-net-{size}",
        version="0",
        imaging_version=IMAGING_VERSION,
        input="hu",
        layout="NCDHW",
        grid=CONFIGURATIONS[size].grid,
        output="probability",
        output_kind="probability",
        heatmap="heatmap",
        operating_point=0.5,
        population="none: it was not trained",
        trained_on="nothing: its weights are random",
        intended_use="placeholder",
        licence="Apache-2.0",
        notice="a placeholder with random weights that knows no disease",
    )
