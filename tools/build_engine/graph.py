"""What is asked of a network's graph. A node is named by its first output, which no other node has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

Constants = Mapping[str, npt.NDArray[np.float32]]

_WEIGHTED: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def key(node: onnx.NodeProto) -> str:
    name: str = node.output[0]
    return name


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every activation, by tensor; types must have been inferred."""
    graph = model.graph
    return {
        one.name: one.type.tensor_type.elem_type for one in (*graph.input, *graph.value_info, *graph.output)
    }


def float_activations(model: onnx.ModelProto) -> list[str]:
    """The FP32 tensors that depend on the volume, the volume first, in the order in which they come."""
    kinds = element_types(model)
    names = [model.graph.input[0].name, *(name for node in model.graph.node for name in node.output)]
    return [name for name in names if kinds.get(name) == TensorProto.FLOAT]


def float_constants(model: onnx.ModelProto) -> dict[str, npt.NDArray[np.float32]]:
    return {
        one.name: numpy_helper.to_array(one)
        for one in model.graph.initializer
        if one.data_type == TensorProto.FLOAT
    }


def operators(model: onnx.ModelProto) -> dict[str, str]:
    """The operator that writes each tensor, with the name of its weights where it has any: exporters number
    tensors, and a layer is known by its weights."""
    weights = {one.name for one in model.graph.initializer if len(one.dims) > 1}
    found = {}
    for node in model.graph.node:
        own = next((name for name in node.input if name in weights), "")
        told = f"{node.op_type} {own.removesuffix('.weight')}" if own else node.op_type
        found.update(dict.fromkeys(node.output, told))
    return found


def layers(model: onnx.ModelProto) -> dict[str, str]:
    """The layer that each tensor comes from, in words that tell it from the others."""
    told = operators(model)
    return {
        model.graph.input[0].name: "the volume",
        **{name: layer if " " in layer else f"{layer} {name}" for name, layer in told.items()},
    }


def multiply_adds(model: onnx.ModelProto) -> dict[str, int]:
    """Of each convolution and matrix product, by node; the others have next to none."""
    shapes = {one.name: tuple(one.dims) for one in model.graph.initializer}
    for one in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        shapes[one.name] = tuple(dim.dim_value for dim in one.type.tensor_type.shape.dim)
    found = {}
    for node in model.graph.node:
        if node.op_type in _WEIGHTED:
            weights = shapes.get(node.input[1], ())
            # A transposed convolution spreads each voxel of its input; the others gather each of the output.
            cells = shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0], ())
            each = math.prod(weights[2:]) * _depth(node, weights)
            found[key(node)] = math.prod(cells) * each
    return found


def _depth(node: onnx.NodeProto, weights: tuple[int, ...]) -> int:
    """How many channels or features go into each value."""
    if node.op_type in ("Conv", "ConvTranspose"):
        return weights[1]
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return weights[-1] if transposed else weights[-2]


def reaching(nodes: Iterable[onnx.NodeProto], kinds: frozenset[str]) -> set[str]:
    """The nodes of these operators, and those that lead to one."""
    wanted: set[str] = set()
    found = set()
    for node in reversed(list(nodes)):
        if node.op_type in kinds or wanted.intersection(node.output):
            found.add(key(node))
            wanted.update(node.input)
    return found


def drop_unused_constants(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    for unused in [one for one in graph.initializer if one.name not in used]:
        graph.initializer.remove(unused)
