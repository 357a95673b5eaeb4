"""Where the numbers of an ONNX model are: in the file itself, or in others beside it.

https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import FunctionProto, GraphProto, ModelProto, TensorProto


def files_beside(model: ModelProto) -> list[str]:
    """The files that hold some of the model's numbers, as it names them; "" where it names none."""
    outside = (one for one in _tensors(model) if one.data_location == TensorProto.EXTERNAL)
    return sorted({_location(one) for one in outside})


def _location(tensor: TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from _tensors_of(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function)


def _tensors_of(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph)


def _tensors_of_nodes(part: GraphProto | FunctionProto) -> Iterator[TensorProto]:
    for node in part.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors_of(inner)
