"""The rounding twin: the FP32 model that rounds to FP16 wherever the plan does.

ONNX Runtime's CPU provider computes an FP16 graph in FP32 and drops the casts in between, so that running it
there would prove nothing. The twin stays in FP32, with weights rounded and with a pair of Casts, FP32 to FP16
and back, after every operator that is FP16 in the plan. It shows range and rounding; the order in which a GPU
adds up is for `scanlight doctor` to show.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from engines.protocol import BadOutput, EngineError, Float32, first_line
from engines.spec import ModelSpec
from engines.tensors import heatmap, input_tensor, probability
from tools.build_engine.graph import (
    drop_unused_constants,
    element_types,
    float_activations,
    float_constants,
    key,
)
from tools.build_engine.precision import halves

_MEASURES: Final = ("ReduceMax", "ReduceMin", "ReduceSum")
"""The last alone passes on what is not a number."""


_RAW: Final = "__raw"


@dataclass(frozen=True, slots=True, eq=False)
class TwinReading:
    """`probability` and `heatmap` [d, h, w] as of an engine, or `problem`, a sentence that says why not.

    `largest` is the largest absolute value of each float activation before it was rounded, infinite or not a
    number where one of its values is.
    """

    probability: float
    heatmap: Float32 | None
    largest: Mapping[str, float] = field(repr=False)
    problem: str = ""


class Twin:
    """Runs a model whose nodes are in FP16 but for those of `fp32`; all in `fp32`, it is the model itself.

    Raises EngineError where ONNX Runtime does not take it.
    """

    def __init__(self, model: onnx.ModelProto, spec: ModelSpec, fp32: frozenset[str]) -> None:
        self._spec = spec
        self.measured = float_activations(model)
        options = onnxruntime.SessionOptions()
        # At no other level is it promised that a pair of casts stays.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Its plan of memory would hold every tensor at once; in this order one is measured as soon as it is
        # there, and goes.
        options.enable_mem_pattern = False
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        options.log_severity_level = 4
        content = _measuring(rounding(model, fp32), self.measured).SerializeToString()
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise _unfit(error) from None
        self._outputs = [name for name in (spec.output, spec.heatmap) if name]
        self._asked = [*self._outputs, *(f"{name}__{of}" for name in self.measured for of in _MEASURES)]

    def read(self, volume: Float32) -> TwinReading:
        """Read a float32 HU volume [D, H, W]. Raises EngineError."""
        try:
            found = self._session.run(self._asked, {self._spec.input: input_tensor(volume, self._spec)})
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise _unfit(error) from None
        measures = np.array([float(one) for one in found[len(self._outputs) :]]).reshape(-1, len(_MEASURES))
        largest = {
            name: math.nan if math.isnan(total) else max(abs(high), abs(low))
            for name, (high, low, total) in zip(self.measured, measures.tolist(), strict=True)
        }
        try:
            cells = heatmap(found[1], self._spec) if self._spec.heatmap else None
            return TwinReading(probability(found[0], self._spec), cells, largest)
        except BadOutput as error:
            return TwinReading(math.nan, None, largest, str(error))


def _unfit(error: Exception) -> EngineError:
    return EngineError(f"ONNX Runtime does not run its rounding twin ({first_line(error)})")


def rounding(model: onnx.ModelProto, fp32: frozenset[str]) -> onnx.ModelProto:
    """The model with the roundings of its mixed-precision form in it, all tensors FP32.

    What comes out of an operator is called `<name>__raw`, and `<name>` once it is rounded.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    graph = twin.graph
    del graph.node[:], graph.value_info[:]
    half, kinds, constants = halves(model, fp32), element_types(model), float_constants(model)
    rounded = {name for node in model.graph.node if key(node) in half for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if key(node) not in half:
            nodes.append(copy)
            continue
        for place, name in enumerate(node.input):
            if name in rounded or (name not in constants and kinds.get(name) != TensorProto.FLOAT):
                continue
            made = copy.input[place] = f"{name}__rounded"
            if made in rounded:
                continue
            rounded.add(made)
            if name in constants:
                value = constants[name].astype(np.float16).astype(np.float32)
                graph.initializer.append(numpy_helper.from_array(value, made))
            else:
                nodes.extend(_round(name, made))
        nodes.append(copy)
        for place, name in enumerate(node.output):
            if kinds.get(name) == TensorProto.FLOAT:
                copy.output[place] = f"{name}{_RAW}"
                nodes.extend(_round(f"{name}{_RAW}", name))
    graph.node.extend(nodes)
    drop_unused_constants(graph)
    return twin


def _round(source: str, to: str) -> Iterator[onnx.NodeProto]:
    yield helper.make_node("Cast", [source], [f"{to}__fp16"], to=TensorProto.FLOAT16)
    yield helper.make_node("Cast", [f"{to}__fp16"], [to], to=TensorProto.FLOAT)


def _measuring(twin: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """Adds outputs for the extremes and the sum of each tensor as it was before rounding: to fetch the
    tensors would take gigabytes."""
    graph, left = twin.graph, set(names)
    nodes = list(_measured(graph.input[0].name, left))
    for node in graph.node:
        nodes.append(node)
        for name in node.output:
            nodes.extend(_measured(name, left))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.output.extend(
        helper.make_tensor_value_info(f"{name}__{of}", TensorProto.FLOAT, [])
        for name in names
        for of in _MEASURES
    )
    return twin


def _measured(source: str, left: set[str]) -> Iterator[onnx.NodeProto]:
    """The measures of a tensor that is one of those `left`, or was before it was rounded."""
    name = source.removesuffix(_RAW)
    if name in left:
        left.remove(name)
        yield from (helper.make_node(of, [source], [f"{name}__{of}"], keepdims=0) for of in _MEASURES)
