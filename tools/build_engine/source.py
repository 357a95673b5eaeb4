"""The model that is to be converted: read, checked, and made plain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
import yaml
from google.protobuf.message import DecodeError
from onnx import TensorProto, external_data_helper, helper, inliner, shape_inference
from pydantic import ValidationError

from appliance.reading import WrongModel, rules_for
from engines.bundle import ModelFile
from engines.onnxruntime import OnnxRuntimeEngine
from engines.protocol import EngineError
from engines.spec import METADATA_KEY, ModelSpec, SpecError, from_metadata, sentence, to_metadata
from engines.weights import files_beside
from tools.build_engine.graph import element_types
from tools.problem import WrongInput

_OWN_DOMAINS: Final = ("", "ai.onnx")
_OTHER_FLOATS: Final = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_OWN_SUFFIXES: Final = ("__fp16", "__fp32", "__raw", "__rounded", "__ReduceMax", "__ReduceMin", "__ReduceSum")
_UNFIT_CONSTANTS: Final = {"sparse_value", "value_string", "value_strings"}


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """`file` is the model as it goes into the bundle. `graph` is the same network made plain: nodes of the
    standard operators alone, constants as initializers, one volume a batch, and every tensor's type known."""

    file: ModelFile
    graph: onnx.ModelProto

    @property
    def spec(self) -> ModelSpec:
        return self.file.spec


def read_source(path: Path, spec: Path | None = None) -> Source:
    """Read a model; `spec` is a YAML file with the specification of one that carries none.

    Raises WrongInput with one sentence for the first thing that is wrong, and OSError.
    """
    try:
        return _read(path, spec)
    except (WrongInput, OSError, MemoryError):
        raise
    except Exception as error:  # what onnx finds wrong, and what broken bytes make of it, has no common base
        raise WrongInput(f"{path} is not valid ONNX: {_said(error)}; export the model again.") from None


def _read(path: Path, spec: Path | None) -> Source:
    content = path.read_bytes() if path.is_file() else b""
    model = _parsed(path, content)
    _check_names(path, model)
    joined = _join_weights(path, model)
    inlined = _inlined(model)
    _check_graph(path, inlined)
    if spec is not None:
        _give_spec(path, model, spec)
    if spec is not None or joined:
        content = model.SerializeToString(deterministic=True)
    try:
        told = from_metadata({one.key: one.value for one in model.metadata_props})
        file = ModelFile(path, told, hashlib.sha256(content).hexdigest(), content)
        rules_for(told)
        OnnxRuntimeEngine(file).close()
    except SpecError as error:
        raise WrongInput(f"{path}: {error}, or name a YAML file with it: --spec FILE.") from None
    except WrongModel as error:
        raise WrongInput(f"{path}: {error}") from None
    except EngineError as error:
        too_new = "opset" in str(error).lower()
        advice = ": export the model again, for an older opset" if too_new else ""
        raise WrongInput(f"{error}{advice}.") from None
    plain = _plain(path, inlined, file.spec)
    _check_types(path, plain)
    return Source(file, plain)


def _parsed(path: Path, content: bytes) -> onnx.ModelProto:
    if path.is_dir():
        raise WrongInput(f"{path} is a folder: name the ONNX file that the engine is to be built from.")
    if path.exists() and not path.is_file():
        raise WrongInput(f"{path} is no file: name the ONNX file that the engine is to be built from.")
    if not path.exists():
        raise WrongInput(f"{path} does not exist: name the ONNX file that the engine is to be built from.")
    try:
        model = onnx.load_from_string(content)
    except DecodeError:
        raise WrongInput(f"{path} is no ONNX file: export the model again.") from None
    if not model.graph.node or not model.graph.output:
        raise WrongInput(f"{path} holds no network: its graph is empty, so export the model again.")
    return model


def _check_names(path: Path, model: onnx.ModelProto) -> None:
    """Each is text, and none is what the twin or the mixed-precision model calls a tensor of its own."""
    graph = model.graph
    names = [one.name for one in (*graph.input, *graph.initializer, *graph.node)]
    for node in graph.node:
        names += [*node.input, *node.output]
    for name in names:
        if name.endswith(_OWN_SUFFIXES):
            raise WrongInput(
                f"{path}: tensor {name} is named as build-engine names its own: build from the model in FP32"
                " that it was made of, or export it with other names."
            )


def _join_weights(path: Path, model: onnx.ModelProto) -> bool:
    """Take in weights that are kept in files of their own; whether there were any."""
    names = files_beside(model)
    for name in names:
        if not name:
            raise WrongInput(
                f"{path} keeps weights outside of itself and does not say where: export the model as one"
                " file."
            )
        if not (path.parent / name).is_file():
            raise WrongInput(
                f"{path} keeps its weights in {name}, which is not beside it: copy it there, or export the"
                " model as one file."
            )
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise WrongInput(f"{path}: its weights cannot be read: {_said(error)}; copy them again.") from None
    return bool(names)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own, valid as it is."""
    onnx.checker.check_model(model)
    return inliner.inline_local_functions(model) if model.functions else model


def _check_graph(path: Path, model: onnx.ModelProto) -> None:
    if model.graph.sparse_initializer:
        raise WrongInput(f"{path} keeps weights in sparse form: export the model with dense ones.")
    for node in model.graph.node:
        if node.domain not in _OWN_DOMAINS:
            raise WrongInput(
                f"{path}: operator {node.domain}.{node.op_type} is not one of ONNX's own: export the model"
                " with standard operators."
            )
        kinds = {one.name for one in node.attribute} if node.op_type == "Constant" else set()
        if unfit := kinds & _UNFIT_CONSTANTS:
            raise WrongInput(
                f"{path}: constant {node.output[0]} is a {min(unfit)}, and no tensor of numbers: export the"
                " model with standard operators on dense tensors."
            )
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise WrongInput(
                f"{path}: operator {node.op_type} branches or loops inside of the network: export the model"
                " for one volume, without control flow."
            )
    onnx.checker.check_model(model, full_check=True)


def _check_types(path: Path, plain: onnx.ModelProto) -> None:
    """What comes in FP16 would be neither rounded nor judged."""
    kinds = element_types(plain) | {one.name: one.data_type for one in plain.graph.initializer}
    for name, kind in kinds.items():
        if kind in _OTHER_FLOATS:
            raise WrongInput(
                f"{path}: tensor {name} is {TensorProto.DataType.Name(kind)}: export the model in FP32, of"
                " which build-engine makes the FP16 itself."
            )


def _give_spec(path: Path, model: onnx.ModelProto, spec: Path) -> None:
    if any(one.key == METADATA_KEY for one in model.metadata_props):
        raise WrongInput(f"{path} carries a specification already: leave out --spec {spec}.")
    try:
        told = ModelSpec.model_validate(yaml.safe_load(spec.read_bytes()), strict=False)
    except ValidationError as error:
        raise WrongInput(f"{spec} is no valid specification: {sentence(error)}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise WrongInput(f"{spec} is no YAML file: {_said(error)}.") from None
    properties = {one.key: one.value for one in model.metadata_props}
    helper.set_model_props(model, properties | to_metadata(told))


def _plain(path: Path, model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    graph = plain.graph
    _constants_become_initializers(graph)
    constants = {one.name for one in graph.initializer}
    for given in [one for one in graph.input if one.name in constants]:
        graph.input.remove(given)
    (volume,) = graph.input
    size = spec.grid.size
    shape = (1, 1, *size) if spec.layout == "NCDHW" else (1, *size, 1)
    volume.CopyFrom(helper.make_tensor_value_info(volume.name, TensorProto.FLOAT, shape))
    del graph.value_info[:]
    for one in graph.output:
        one.type.tensor_type.ClearField("shape")
    try:
        return shape_inference.infer_shapes(plain, check_type=True, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError as error:
        raise WrongInput(
            f"{path} does not fit one volume of its specification: {_said(error)}; export the model again."
        ) from None


def _constants_become_initializers(graph: onnx.GraphProto) -> None:
    for node in [one for one in graph.node if one.op_type == "Constant"]:
        (attribute,) = node.attribute
        value = helper.get_attribute_value(attribute)
        if attribute.name != "value":
            kind = TensorProto.INT64 if "int" in attribute.name else TensorProto.FLOAT
            many = isinstance(value, list | tuple)
            value = helper.make_tensor("", kind, [len(value)] if many else [], value if many else [value])
        made = graph.initializer.add()
        made.CopyFrom(value)
        made.name = node.output[0]
        graph.node.remove(node)


def _said(error: Exception) -> str:
    """What a library says, on one line."""
    return " ".join(str(error).split()).rstrip(".")
