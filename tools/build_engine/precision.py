"""From FP32 to mixed precision: which operators compute in FP16, and the model that says so by its types.

TensorRT takes the types of a strongly typed network as they are, so that what is written here is what runs:
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html#strongly-typed-networks
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from tools.build_engine.graph import (
    Constants,
    drop_unused_constants,
    element_types,
    float_constants,
    key,
    reaching,
)

LARGEST: Final = 65504.0
"""The largest finite number of FP16 (IEEE 754 binary16)."""

WINDOWED: Final = frozenset(("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"))
"""Operators that see a neighbourhood: where the work is."""

_SUMMARISING: Final = frozenset(
    (
        "Gemm",
        "MatMul",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "Softmax",
    )
)

HALF: Final = (
    WINDOWED
    | _SUMMARISING
    | frozenset(
        (
            *("Abs", "Add", "BatchNormalization", "Clip", "Concat", "Div", "Elu", "Equal", "Erf", "Exp"),
            *("Expand", "Flatten", "Gather", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish"),
            *("Identity", "InstanceNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min"),
            *(
                "Mul",
                "Neg",
                "PRelu",
                "Pad",
                "Pow",
                "Reciprocal",
                "Relu",
                "Reshape",
                "Sigmoid",
                "Sign",
                "Slice",
            ),
            *(
                "Softplus",
                "Split",
                "Sqrt",
                "Squeeze",
                "Sub",
                "Tanh",
                "Tile",
                "Transpose",
                "Unsqueeze",
                "Where",
            ),
        )
    )
)
"""Operators whose FP32 tensors may all be FP16 instead; any other stays in FP32."""


def head(model: onnx.ModelProto) -> frozenset[str]:
    """The nodes of the head and the heatmap, by name: what sums up the maps, what comes after it, and what
    gives an output, unless a convolution or pooling is among what follows."""
    nodes = model.graph.node
    trunk = reaching(nodes, WINDOWED)
    outputs = {one.name for one in model.graph.output}
    found: set[str] = set()
    for node in nodes:
        begins = node.op_type in _SUMMARISING or outputs.intersection(node.output)
        if key(node) not in trunk and (begins or found.intersection(node.input)):
            found.update(node.output)
    return frozenset(key(node) for node in nodes if key(node) in found)


def never_half(model: onnx.ModelProto) -> dict[str, str]:
    """The nodes that must stay in FP32 whatever volume they see, by name, with the reason."""
    constants = float_constants(model)
    kinds = element_types(model)
    found = {}
    for node in model.graph.node:
        touched = [name for name in (*node.input, *node.output) if name in constants or name in kinds]
        if not any(name in constants or kinds[name] == TensorProto.FLOAT for name in touched):
            continue
        if node.op_type not in HALF:
            found[key(node)] = f"{node.op_type} is not among the operators that run in FP16"
        elif any(_lost(constants[name]) for name in node.input if name in constants):
            found[key(node)] = "a constant of it is beyond the range of FP16"
    return found


def _lost(constant: npt.NDArray[np.float32]) -> bool:
    """Whether FP16 makes it infinite, or nothing of what it was."""
    largest = float(np.abs(constant).max(initial=0))
    return largest > LARGEST or (largest > 0 and np.float16(largest) == 0)


def halves(model: onnx.ModelProto, fp32: frozenset[str]) -> set[str]:
    """The nodes that compute in FP16, by name, when those of `fp32` do not."""
    kinds = element_types(model)
    return {
        key(node)
        for node in model.graph.node
        if node.op_type in HALF
        and key(node) not in fp32
        and any(kinds.get(name) == TensorProto.FLOAT for name in (*node.input, *node.output))
    }


def mixed(model: onnx.ModelProto, fp32: frozenset[str]) -> onnx.ModelProto:
    """The model with all nodes in FP16 but those of `fp32`: weights rounded, a Cast at every border, inputs
    and outputs in FP32 as before."""
    return shape_inference.infer_shapes(_Mixer(model, fp32).model(), strict_mode=True, data_prop=True)


class _Mixer:
    """Writes the nodes again, one by one; each tensor that is wanted in the other precision is cast once."""

    def __init__(self, model: onnx.ModelProto, fp32: frozenset[str]) -> None:
        self._model = model
        self._half = halves(model, fp32)
        self._kinds = element_types(model)
        self._constants: Constants = float_constants(model)
        self._outputs = {one.name for one in model.graph.output}
        self._made: dict[tuple[str, bool], str] = {}
        """The name of a tensor in FP16 (True) or FP32 (False)."""
        self._new_constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        written = onnx.ModelProto()
        written.CopyFrom(self._model)
        graph = written.graph
        del graph.node[:], graph.value_info[:]
        for node in self._model.graph.node:
            graph.node.extend(self._written(node))
        graph.initializer.extend(self._new_constants)
        drop_unused_constants(graph)
        return written

    def _written(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        half = key(node) in self._half
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for place, name in enumerate(node.input):
            if name in self._constants:
                copy.input[place] = self._constant(name) if half else name
            elif self._kinds.get(name) == TensorProto.FLOAT:
                if (name, half) not in self._made:
                    yield self._cast(name, half)
                copy.input[place] = self._made[name, half]
        for place, name in enumerate(node.output):
            if self._kinds.get(name) == TensorProto.FLOAT:
                self._made[name, half] = copy.output[place] = (
                    f"{name}__fp16" if half and name in self._outputs else name
                )
        yield copy
        for name in node.output:
            if half and name in self._outputs and self._kinds[name] == TensorProto.FLOAT:
                yield self._cast(name, half=False, to=name)

    def _cast(self, name: str, half: bool, to: str = "") -> onnx.NodeProto:
        source = self._made.get((name, not half), name)
        made = self._made[name, half] = to or f"{name}__{'fp16' if half else 'fp32'}"
        kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        return helper.make_node("Cast", [source], [made], name=made, to=kind)

    def _constant(self, name: str) -> str:
        made = f"{name}__fp16"
        if (name, True) not in self._made:
            self._made[name, True] = made
            self._new_constants.append(
                numpy_helper.from_array(self._constants[name].astype(np.float16), made)
            )
        return made
