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
CELL = (2, 4, 4)
"""Voxels (10 x 12.8 x 12.8 mm): a cell of the heatmap, and the box that ground glass must fill to count.
Two slices and not three in depth: a dome of the diaphragm blurs one slice."""
WALL_SHARE = 0.25
"""The share of tissue at which a cell counts as body wall."""
FLAG_SHARE = 0.0015
"""The ground-glass share of the lung at which the probability is 0.5: a patch of 23 mm in 4 l. Rounded from
the geometric mean of the largest share of the clear phantoms and the smallest of the COVID-like ones."""
LUNG_FLOOR_L = 0.5
"""The lung volume that the share is taken of at least; keeps the division from 0."""

HEATMAP = "heatmap"
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
    heatmap=HEATMAP,
    operating_point=0.5,
    population="none: it was not made from patients",
    trained_on="nothing: densities, lengths and ratios set by hand, checked on phantoms",
    intended_use="placeholder",
    licence="Apache-2.0",
    notice="not CSAC-Net: a placeholder that measures ground-glass density and knows no disease",
)


Triple = tuple[int, int, int]


class _Graph:
    """Nodes and constants in the order in which they are written; each method adds and names an output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[float, str] = {}

    def add(self, op: str, name: str, *inputs: str | float, **attributes: Sequence[int] | int) -> str:
        names = [i if isinstance(i, str) else self._constant(i) for i in inputs]
        self.nodes.append(helper.make_node(op, names, [name], name=name, **attributes))
        return name

    def largest(
        self, name: str, source: str, window: Triple, before: Triple = (0, 0, 0), after: Triple = (0, 0, 0)
    ) -> str:
        """The largest value in each window; `before` and `after` voxels of padding never win."""
        pads = (*before, *after)
        return self.add("MaxPool", name, source, kernel_shape=window, strides=(1, 1, 1), pads=pads)

    def cells(self, name: str, source: str) -> str:
        return self.add("AveragePool", name, source, kernel_shape=CELL, strides=CELL)

    def complement(self, name: str, source: str) -> str:
        return self.add("Sub", name, 1.0, source)

    def above(self, name: str, source: str, edge: float) -> str:
        """0 below an edge, 1 above it, 1/2 on it, over a ramp of RAMP_HU."""
        over = self.add("Sub", f"{name}_over", source, edge - RAMP_HU / 2)
        return self.add("Clip", name, self.add("Mul", f"{name}_ramp", over, 1 / RAMP_HU), 0.0, 1.0)

    def outside(self, name: str, source: str, band: tuple[float, float]) -> str:
        """1 outside of a band of densities, 0 inside, each edge a ramp."""
        centre = (band[0] + band[1]) / 2
        shift = self.add("Sub", f"{name}_shift", source, centre)
        return self.above(name, self.add("Abs", f"{name}_distance", shift), band[1] - centre)

    def litres(self, name: str, cells: str) -> str:
        """The volume that a map of shares covers, [1, 1, 1, 1, 1]; the mean comes last, for FP16's sake."""
        each_l = math.prod(GRID.size) * math.prod(GRID.spacing_mm) / 1e6
        return self.add("GlobalAveragePool", name, self.add("Mul", f"{name}_each", cells, each_l))

    def _constant(self, value: float) -> str:
        return self.constants.setdefault(value, f"constant_{len(self.constants)}")


def _opened(graph: _Graph, ground_glass_complement: str) -> str:
    """Ground glass without what no box of ground glass covers: a grey opening.

    First the least of each box, as the complement of the largest complement, then for each voxel the best
    of the boxes that cover it.
    """
    fits = graph.complement("fits", graph.largest("does_not_fit", ground_glass_complement, CELL))
    reach = (CELL[0] - 1, CELL[1] - 1, CELL[2] - 1)
    return graph.largest("opened", fits, CELL, before=reach, after=reach)


def _enclosed(graph: _Graph, tissue_cells: str) -> str:
    """1 where a cell has body wall in front, behind, on its right and left in its own slices, else 0.

    The running maxima include the cell itself, so the least over the cell and its neighbours takes the skin
    out again.
    """
    rows, columns = GRID.size[1] // CELL[1], GRID.size[2] // CELL[2]
    wall = graph.add("Clip", "wall", graph.add("Mul", "wall_ramp", tissue_cells, 1 / WALL_SHARE), 0.0, 1.0)
    sides = (
        graph.largest("wall_in_front", wall, (1, rows, 1), before=(0, rows - 1, 0)),
        graph.largest("wall_behind", wall, (1, rows, 1), after=(0, rows - 1, 0)),
        graph.largest("wall_on_right", wall, (1, 1, columns), before=(0, 0, columns - 1)),
        graph.largest("wall_on_left", wall, (1, 1, columns), after=(0, 0, columns - 1)),
    )
    open_to_air = graph.complement("open_to_air", graph.add("Min", "enclosed_or_skin", *sides))
    near_air = graph.largest("near_air", open_to_air, (1, 3, 3), before=(0, 1, 1), after=(0, 1, 1))
    return graph.complement("enclosed", near_air)


def build() -> onnx.ModelProto:
    """The network: HU [1, 1, 80, 128, 128] to `probability` [1, 1] and `heatmap` [1, 1, 40, 32, 32]."""
    graph = _Graph()
    ground_glass = _opened(graph, graph.outside("not_ground_glass", SPEC.input, GROUND_GLASS_HU))
    aerated = graph.complement("aerated", graph.outside("not_aerated", SPEC.input, AERATED_HU))
    tissue = graph.above("tissue", SPEC.input, TISSUE_HU)

    enclosed = _enclosed(graph, graph.cells("tissue_cells", tissue))
    heatmap = graph.add("Mul", HEATMAP, graph.cells("ground_glass_cells", ground_glass), enclosed)
    aerated_cells = graph.add("Mul", "enclosed_aerated", graph.cells("aerated_cells", aerated), enclosed)

    ground_glass_l = graph.litres("ground_glass_litres", heatmap)
    lung_l = graph.add("Add", "lung_litres", ground_glass_l, graph.litres("aerated_litres", aerated_cells))
    floored = graph.add("Max", "lung_litres_floored", lung_l, LUNG_FLOOR_L)
    even_l = graph.add("Mul", "even_litres", floored, FLAG_SHARE)
    share = graph.add("Div", "share", ground_glass_l, graph.add("Add", "both_litres", ground_glass_l, even_l))
    graph.add("Flatten", SPEC.output, share, axis=1)

    cells = [size // cell for size, cell in zip(GRID.size, CELL, strict=True)]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            SPEC.name,
            [helper.make_tensor_value_info(SPEC.input, TensorProto.FLOAT, (1, 1, *GRID.size))],
            [
                helper.make_tensor_value_info(SPEC.output, TensorProto.FLOAT, (1, 1)),
                helper.make_tensor_value_info(HEATMAP, TensorProto.FLOAT, (1, 1, *cells)),
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
