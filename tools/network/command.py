"""`scanlight model summary` and `roofline`: what the network is made of, and what it costs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from tools.needs import needs
from tools.network.configuration import CONFIGURATIONS, Size
from tools.network.roofline import CARDS, estimate_ms

_NAMES: Final = {
    "convolution": "3D convolutions",
    "atrous convolution": "3D atrous convolutions",
    "max pooling": "3D max poolings",
    "fully connected": "fully connected layers",
}


def summary(
    size: Annotated[Size, typer.Argument(help="Which of the two sizes.")] = "edge",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Layers, parameters, multiply-adds and bytes of 3D CSAC-Net for one volume, in FP16."""
    with needs("train"):
        from tools.network.summary import layers  # noqa: PLC0415

    grid = CONFIGURATIONS[size].grid
    found = layers(CONFIGURATIONS[size])
    if as_json:
        typer.echo(json.dumps({"size": size, "grid": grid.size, "layers": [asdict(one) for one in found]}))
        return
    table = Table(title=f"3D CSAC-Net, {size}: {' x '.join(map(str, grid.size))} voxels")
    for name in ("layer", "kind", "kernel", "dilation"):
        table.add_column(name)
    for name in ("out", "parameters", "multiply-adds (M)", "MB"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            one.name,
            one.kind,
            " x ".join(map(str, one.kernel)),
            " x ".join(map(str, one.dilation)) if set(one.dilation) - {1} else "",
            " x ".join(map(str, one.out)),
            f"{one.parameters:,}" if one.parameters else "",
            f"{one.multiply_adds / 1e6:,.1f}" if one.multiply_adds else "",
            f"{one.bytes / 1e6:,.1f}",
        )
    console = Console(width=None if Console().is_terminal else 140)
    console.print(table)
    counted = Counter(one.kind for one in found)
    console.print(", ".join(f"{counted[kind]} {name}" for kind, name in _NAMES.items()))
    console.print(
        f"{sum(one.parameters for one in found):,} parameters,"
        f" {sum(one.multiply_adds for one in found) / 1e9:.1f} G multiply-adds,"
        f" {sum(one.bytes for one in found) / 1e9:.2f} GB read and written in FP16"
    )


def roofline() -> None:
    """An estimate of the time that workstation GPUs take for one volume: from data sheets, not measured."""
    with needs("train"):
        from tools.network.summary import layers  # noqa: PLC0415

    full, edge = layers(CONFIGURATIONS["full"]), layers(CONFIGURATIONS["edge"])
    table = Table(
        title="3D CSAC-Net in FP16, an estimate",
        caption="Not measured, and no bound: scanlight doctor measures the GPU that is here.",
    )
    table.add_column("GPU")
    for name in ("compute capability", "TFLOPS", "GB/s", "full, ms", "edge, ms"):
        table.add_column(name, justify="right")
    for card in CARDS:
        table.add_row(
            card.name,
            card.compute_capability,
            f"{card.tera_flops:g}",
            f"{card.giga_bytes_s:g}",
            f"{estimate_ms(full, card):.2f}",
            f"{estimate_ms(edge, card):.2f}",
        )
    Console().print(table)
