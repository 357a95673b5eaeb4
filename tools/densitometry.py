"""Writes `densitometry.onnx`, the network that measures ground-glass density in lung.

Nothing in it is learned: every constant below is a density, a length or a ratio, and
`docs/densitometry.md` explains how to get the same numbers by hand. Run as
`python -m tools.densitometry OUT.onnx`; the same bytes come out every time.

The operators are the plainest that do the work (pooling and arithmetic), so that every runner has them.
Soft masks are ramps of `RAMP_HU` rather than steps, so that a change of a fraction of an HU, as
resampling makes, changes the result by as little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import typer
from onnx import TensorProto, helper, numpy_helper

from engines.spec import Grid, ModelSpec, to_metadata

GRID = Grid(size=(80, 128, 128), spacing_mm=(5.0, 3.2, 3.2))
AERATED_HU = (-950.0, -750.0)
GROUND_GLASS_HU = (-750.0, -300.0)
TISSUE_HU = -300.0
RAMP_HU = 50.0
OPENING = (2, 3, 3)
"""Voxels (10 x 9.6 x 9.6 mm) that a patch must hold to count. Two slices and not three in depth: a dome of
the diaphragm blurs one slice, and a patch of 15 mm need not fill three."""
CELL = (2, 4, 4)
"""Voxels a cell of the heatmap (10 x 12.8 x 12.8 mm)."""
WALL_SHARE = 0.25
"""The share of tissue at which a cell counts as body wall."""
FLAG_SHARE = 0.005
"""The ground-glass share of the lung at which the probability is 0.5."""
LUNG_FLOOR_L = 0.5
"""The lung volume that the share is taken of at least; keeps the division from 0."""

OPSET = 17
IR_VERSION = 8

SPEC = ModelSpec(
    name="densitometry",
    version="1",
    imaging_version=1,
    input="volume",
    layout="NCDHW",
    grid=GRID,
    output="probability",
    output_kind="probability",
    heatmap="heatmap",
    operating_point=0.5,
    population="none: it was not made from patients",
    trained_on="nothing: densities, lengths and ratios set by hand, checked on phantoms",
    intended_use="placeholder",
    licence="Apache-2.0",
    notice="not CSAC-Net: a placeholder that measures ground-glass density and knows no disease",
)


class _Graph:
    """Nodes and constants in the order in which they are written."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[float, str] = {}

    def constant(self, value: float) -> str:
        return self.constants.setdefault(value, f"constant_{len(self.constants)}")

    def add(self, op: str, name: str, *inputs: str | float, **attributes: Sequence[int] | int) -> str:
        names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        self.nodes.append(helper.make_node(op, names, [name], name=name, **attributes))
        return name

    def pool_max(self, name: str, source: str, window: Sequence[int], pads: Sequence[int]) -> str:
        return self.add("MaxPool", name, source, kernel_shape=window, strides=(1, 1, 1), pads=pads)

    def pool_mean(self, name: str, source: str) -> str:
        return self.add("AveragePool", name, source, kernel_shape=CELL, strides=CELL)

    def outside(self, name: str, source: str, band: tuple[float, float]) -> str:
        """1 outside of a band of densities, 0 inside, 1/2 on its edges, over a ramp of RAMP_HU."""
        centre, half = (band[0] + band[1]) / 2, (band[1] - band[0]) / 2
        from_centre = self.add("Abs", f"{name}_distance", self.add("Sub", f"{name}_shift", source, centre))
        ramp = self.add(
            "Mul",
            f"{name}_ramp",
            self.add("Sub", f"{name}_edge", from_centre, half - RAMP_HU / 2),
            1 / RAMP_HU,
        )
        return self.add("Clip", name, ramp, 0.0, 1.0)


def _enclosed(graph: _Graph, tissue: str) -> str:
    """1 where a cell has body wall on its right, left, front and back in its own slices, else 0.

    The running maxima include the cell itself, so the minimum over the cell and its neighbours takes the
    skin out again.
    """
    rows, columns = GRID.size[1] // CELL[1], GRID.size[2] // CELL[2]
    wall = graph.add("Clip", "wall", graph.add("Mul", "wall_ramp", tissue, 1 / WALL_SHARE), 0.0, 1.0)
    sides = (
        graph.pool_max("wall_in_front", wall, (1, rows, 1), (0, rows - 1, 0, 0, 0, 0)),
        graph.pool_max("wall_behind", wall, (1, rows, 1), (0, 0, 0, 0, rows - 1, 0)),
        graph.pool_max("wall_on_right", wall, (1, 1, columns), (0, 0, columns - 1, 0, 0, 0)),
        graph.pool_max("wall_on_left", wall, (1, 1, columns), (0, 0, 0, 0, 0, columns - 1)),
    )
    open_to_air = graph.add("Sub", "open_to_air", 1.0, graph.add("Min", "enclosed_or_skin", *sides))
    near_air = graph.pool_max("near_air", open_to_air, (1, 3, 3), (0, 1, 1, 0, 1, 1))
    return graph.add("Sub", "enclosed", 1.0, near_air)


def _litres(graph: _Graph, name: str, cells: str) -> str:
    """The volume that a map of shares covers, [1, 1, 1, 1, 1]."""
    litres = math.prod(GRID.size) * math.prod(GRID.spacing_mm) / 1e6
    return graph.add("Mul", name, graph.add("GlobalAveragePool", f"{name}_share", cells), litres)


def build() -> onnx.ModelProto:
    """The network: HU [1, 1, 80, 128, 128] to `probability` [1, 1] and `heatmap` [1, 1, 40, 32, 32]."""
    graph = _Graph()
    volume = SPEC.input

    not_glass = graph.outside("not_ground_glass", volume, GROUND_GLASS_HU)
    fits = graph.add(
        "Sub", "fits", 1.0, graph.pool_max("does_not_fit", not_glass, OPENING, (0, 1, 1, 0, 1, 1))
    )
    opened = graph.pool_max("opened", fits, OPENING, (1, 1, 1, 1, 1, 1))

    aerated = graph.add("Sub", "aerated", 1.0, graph.outside("not_aerated", volume, AERATED_HU))
    tissue_ramp = graph.add(
        "Mul", "tissue_ramp", graph.add("Sub", "tissue_shift", volume, TISSUE_HU - RAMP_HU / 2), 1 / RAMP_HU
    )
    tissue = graph.add("Clip", "tissue", tissue_ramp, 0.0, 1.0)

    enclosed = _enclosed(graph, graph.pool_mean("tissue_cells", tissue))
    heatmap = graph.add("Mul", str(SPEC.heatmap), graph.pool_mean("opened_cells", opened), enclosed)
    aerated_cells = graph.add("Mul", "lung_cells", graph.pool_mean("aerated_cells", aerated), enclosed)

    glass_l = _litres(graph, "ground_glass_litres", heatmap)
    lung_l = graph.add("Add", "lung_litres", glass_l, _litres(graph, "aerated_litres", aerated_cells))
    needed = graph.add(
        "Mul", "needed_litres", graph.add("Max", "lung_floor", lung_l, LUNG_FLOOR_L), FLAG_SHARE
    )
    ratio = graph.add("Div", "ratio", glass_l, graph.add("Add", "sum_litres", glass_l, needed))
    graph.add("Flatten", SPEC.output, ratio, axis=1)

    depth, height, width = (size // cell for size, cell in zip(GRID.size, CELL, strict=True))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            SPEC.name,
            [helper.make_tensor_value_info(volume, TensorProto.FLOAT, (1, 1, *GRID.size))],
            [
                helper.make_tensor_value_info(SPEC.output, TensorProto.FLOAT, (1, 1)),
                helper.make_tensor_value_info(
                    str(SPEC.heatmap), TensorProto.FLOAT, (1, 1, depth, height, width)
                ),
            ],
            [numpy_helper.from_array(np.float32(value), name) for value, name in graph.constants.items()],
        ),
        producer_name="scanlight",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(model, to_metadata(SPEC))
    onnx.checker.check_model(model, full_check=True)
    return model


def write(out: Annotated[Path, typer.Argument(help="The ONNX file to write.")]) -> None:
    """Write the densitometry network with its specification."""
    out.write_bytes(build().SerializeToString(deterministic=True))


if __name__ == "__main__":
    typer.run(write)
