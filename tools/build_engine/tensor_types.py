"""What TensorRT took a model's tensors for: an FP32 graph builds without a word, and is no FP16 engine."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import onnx
from onnx import TensorProto

from tools.build_engine.graph import element_types
from tools.build_engine.precision import WINDOWED


def mistyped(trt: ModuleType, network: Any, model: onnx.ModelProto) -> str:  # noqa: ANN401
    """The first tensor of a parsed network whose type is not the model's, in words; "" where all are.

    The parser keeps the names of tensors. It may leave some out, such as those of constants that it folds,
    but none that a convolution or pooling writes.
    """
    names = {TensorProto.FLOAT16: trt.DataType.HALF, TensorProto.FLOAT: trt.DataType.FLOAT}
    parsed = {
        tensor.name: tensor.dtype
        for layer in map(network.get_layer, range(network.num_layers))
        for tensor in map(layer.get_output, range(layer.num_outputs))
    }
    kinds = element_types(model)
    for node in model.graph.node:
        for name in node.output:
            wanted = names.get(kinds.get(name, TensorProto.UNDEFINED))
            if name in parsed and wanted is not None and parsed[name] != wanted:
                return f"tensor {name} for {parsed[name].name}, not {wanted.name}"
        if node.op_type in WINDOWED and node.output[0] not in parsed:
            return f"{node.op_type} {node.output[0]} for something else"
    return ""
