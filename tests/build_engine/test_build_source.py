"""A model is read with one sentence for whatever is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import built_networks as networks
import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper

from engines.bundle import load_model
from tools.build_engine.source import read_source
from tools.problem import WrongInput


def saved(model: onnx.ModelProto, folder: Path, external: bool = False) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    return path


def complaint(path: Path, spec: Path | None = None) -> str:
    with pytest.raises(WrongInput) as caught:
        read_source(path, spec)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_the_file_goes_into_the_bundle_as_it_is(tmp_path: Path) -> None:
    path = saved(networks.network(), tmp_path)
    source = read_source(path)
    assert source.file.content == path.read_bytes()
    assert source.spec == networks.SPEC


def test_a_file_that_is_not_there_or_no_model(tmp_path: Path) -> None:
    assert "does not exist" in complaint(tmp_path / "no.onnx")
    assert "is a folder" in complaint(tmp_path)
    (tmp_path / "text.onnx").write_text("not a model")
    assert "is no ONNX file" in complaint(tmp_path / "text.onnx")


@pytest.mark.parametrize(
    "content", [b"", helper.make_model(helper.make_graph([], "", [], [])).SerializeToString()]
)
def test_an_empty_graph(tmp_path: Path, content: bytes) -> None:
    """TensorRT takes it without a word."""
    (tmp_path / "empty.onnx").write_bytes(content)
    assert "holds no network" in complaint(tmp_path / "empty.onnx")


def test_weights_beside_the_model_become_part_of_it(tmp_path: Path) -> None:
    path = saved(networks.network(), tmp_path, external=True)
    joined = read_source(path).file.content
    (tmp_path / "weights.bin").unlink()
    (tmp_path / "joined.onnx").write_bytes(joined)
    assert read_source(tmp_path / "joined.onnx").file.content == joined


def test_weights_that_are_missing(tmp_path: Path) -> None:
    path = saved(networks.network(), tmp_path, external=True)
    (tmp_path / "weights.bin").unlink()
    assert "keeps its weights in weights.bin, which is not beside it" in complaint(path)


def test_weights_that_are_cut_off(tmp_path: Path) -> None:
    path = saved(networks.network(), tmp_path, external=True)
    (tmp_path / "weights.bin").write_bytes((tmp_path / "weights.bin").read_bytes()[:100])
    assert "its weights cannot be read" in complaint(path)


def with_a_constant_beside_it(folder: Path, location: str) -> Path:
    """A network one of whose constants is a node, whose numbers are in a file."""
    model = networks.network()
    constant = next(one for one in model.graph.initializer if one.raw_data)
    model.graph.initializer.remove(constant)
    (folder / "constant.bin").write_bytes(constant.raw_data)
    external_data_helper.set_external_data(constant, location)
    constant.ClearField("raw_data")
    model.graph.node.insert(0, helper.make_node("Constant", [], [constant.name], value=constant))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_constant_beside_the_model_becomes_part_of_it(tmp_path: Path) -> None:
    joined = read_source(with_a_constant_beside_it(tmp_path, "constant.bin")).file.content
    (tmp_path / "constant.bin").unlink()
    (tmp_path / "joined.onnx").write_bytes(joined)
    assert load_model(tmp_path / "joined.onnx").content == joined


def test_a_constant_that_is_missing_or_nowhere(tmp_path: Path) -> None:
    said = complaint(with_a_constant_beside_it(tmp_path, "gone.bin"))
    assert "keeps its weights in gone.bin, which is not beside it" in said
    said = complaint(with_a_constant_beside_it(tmp_path, ""))
    assert "keeps weights outside of itself and does not say where" in said


def test_an_opset_that_onnx_runtime_does_not_know_yet(tmp_path: Path) -> None:
    model = networks.network()
    model.opset_import[0].version = onnx.defs.onnx_opset_version() + 1
    assert complaint(saved(model, tmp_path)).endswith("export the model again, for an older opset.")


def of_another_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def with_a_branch(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Relu", ["maps"], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.append(helper.make_node("If", ["yes"], ["branched"], then_branch=body, else_branch=body))


def with_text(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Constant", [], ["named"], value_string="a name"))


def with_a_sparse_constant(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("sparse_values", TensorProto.FLOAT, [1], [2.0])
    places = helper.make_tensor("sparse_places", TensorProto.INT64, [1], [3])
    sparse = helper.make_sparse_tensor(values, places, [8])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["sparse"], sparse_value=sparse))


def with_sparse_weights(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [2.0])
    places = helper.make_tensor("sparse_places", TensorProto.INT64, [1], [3])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [8]))


def in_a_function(model: onnx.ModelProto, node: onnx.NodeProto, *imported: str) -> None:
    """A function that the network calls and nothing follows."""
    model.ir_version = 10
    opsets = [helper.make_opsetid("", networks.OPSET), *(helper.make_opsetid(one, 1) for one in imported)]
    model.functions.append(helper.make_function("local", "Block", ["given"], ["made"], [node], opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node.append(helper.make_node("Block", ["maps"], ["through"], domain="local"))


def with_another_domain_in_a_function(model: onnx.ModelProto) -> None:
    in_a_function(model, helper.make_node("Swirl", ["given"], ["made"], domain="com.example"), "com.example")
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def with_a_loop_in_a_function(model: onnx.ModelProto) -> None:
    yes = helper.make_node(
        "Constant", [], ["yes"], value=helper.make_tensor("", TensorProto.BOOL, [], [True])
    )
    body = helper.make_graph(
        [helper.make_node("Relu", ["given"], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    branch = helper.make_node("If", ["yes"], ["made"], then_branch=body, else_branch=body)
    in_a_function(model, branch)
    del model.functions[0].node[:]
    model.functions[0].node.extend([yes, branch])


def of_no_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Clipp"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (of_another_domain, "com.example.Clip is not one of ONNX's own"),
        (with_a_branch, "If branches or loops"),
        (with_text, "constant named is a value_string, and no tensor of numbers"),
        (with_a_sparse_constant, "constant sparse is a sparse_value, and no tensor of numbers"),
        (with_sparse_weights, "keeps weights in sparse form"),
        (with_another_domain_in_a_function, "com.example.Swirl is not one of ONNX's own"),
        (with_a_loop_in_a_function, "If branches or loops"),
        (of_no_operator, "is not valid ONNX"),
    ],
)
def test_operators(tmp_path: Path, change: Callable[[onnx.ModelProto], None], words: str) -> None:
    model = networks.network()
    change(model)
    assert words in complaint(saved(model, tmp_path))


def with_fp16_inside(model: onnx.ModelProto) -> None:
    """As a network has it that was halved before: the twin would round nothing of it."""
    half = helper.make_node("Cast", ["maps"], ["half"], to=TensorProto.FLOAT16)
    model.graph.node.extend([half, helper.make_node("Relu", ["half"], ["kept"])])


def with_a_name_of_ours(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["maps"], ["maps__fp16"]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_fp16_inside, "tensor half is FLOAT16: export the model in FP32"),
        (with_a_name_of_ours, "tensor maps__fp16 is named as build-engine names its own"),
    ],
)
def test_what_would_not_be_judged(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], words: str
) -> None:
    model = networks.network()
    change(model)
    assert words in complaint(saved(model, tmp_path))


@pytest.mark.parametrize(
    ("there", "broken"),
    [(b"first_relu", b"first_rel\xff"), (b"maps", b"map\xff"), (b"clipped", b"clippe\xc3")],
)
def test_names_that_are_no_text(tmp_path: Path, there: bytes, broken: bytes) -> None:
    path = saved(networks.network(), tmp_path)
    path.write_bytes(path.read_bytes().replace(there, broken))
    assert "is not valid ONNX" in complaint(path)


def test_a_model_for_other_imaging(tmp_path: Path) -> None:
    spec = networks.SPEC.model_copy(update={"imaging_version": 99})
    assert "imaging" in complaint(saved(networks.network(spec=spec), tmp_path))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is no file" in complaint(tmp_path / "pipe")


def test_a_function_is_made_plain(tmp_path: Path) -> None:
    model = networks.network()
    in_a_function(model, helper.make_node("Relu", ["given"], ["made"]))
    source = read_source(saved(model, tmp_path))
    assert not source.graph.functions
    assert source.file.content == (tmp_path / "model.onnx").read_bytes()
    assert [node.op_type for node in source.graph.graph.node][-1] == "Relu"


def test_the_rest_of_what_a_model_tells_stays_beside_its_specification(tmp_path: Path) -> None:
    model = networks.network(spec=None)
    helper.set_model_props(model, {"author": "a hospital"})
    (tmp_path / "spec.yaml").write_text(networks.SPEC.model_dump_json())
    content = read_source(saved(model, tmp_path), tmp_path / "spec.yaml").file.content
    told = {one.key: one.value for one in onnx.load_from_string(content).metadata_props}
    assert told.pop("author") == "a hospital"
    assert len(told) == 1


def test_no_specification_and_one_beside_the_model(tmp_path: Path) -> None:
    path = saved(networks.network(spec=None), tmp_path)
    assert "carries no specification" in complaint(path)
    spec = tmp_path / "spec.yaml"
    spec.write_text(networks.SPEC.model_dump_json())
    source = read_source(path, spec)
    assert source.spec == networks.SPEC
    (tmp_path / "with.onnx").write_bytes(source.file.content)
    assert "carries a specification already" in complaint(tmp_path / "with.onnx", spec)


@pytest.mark.parametrize(
    ("text", "words"), [("name: only", "input: field required"), ("[", "no YAML"), ("", "valid")]
)
def test_a_specification_that_is_none(tmp_path: Path, text: str, words: str) -> None:
    path = saved(networks.network(spec=None), tmp_path)
    (tmp_path / "spec.yaml").write_text(text)
    assert words in complaint(path, tmp_path / "spec.yaml")


def test_a_specification_of_another_network(tmp_path: Path) -> None:
    grid = networks.SPEC.grid.model_copy(update={"size": (8, 16, 32)})
    model = networks.network(spec=networks.SPEC.model_copy(update={"grid": grid}))
    assert "does not match its specification" in complaint(saved(model, tmp_path))


def test_the_plain_graph_is_of_one_volume_and_knows_every_type(tmp_path: Path) -> None:
    """As Keras exports: a batch of any size, constants as nodes."""
    graph = networks.Graph()
    graph.nodes.append(
        helper.make_node("Constant", [], ["half"], value=helper.make_tensor("", TensorProto.FLOAT, [], [0.5]))
    )
    graph.add(
        "Flatten", "flat", graph.add("GlobalAveragePool", "mean", graph.add("Mul", "less", "hu", "half"))
    )
    graph.add("Sigmoid", "probability", "flat")
    spec = networks.SPEC.model_copy(update={"heatmap": None})
    model = graph.model([("probability", ("batch", 1))], ("batch", 1, *networks.SIZE), spec)
    plain = read_source(saved(model, tmp_path)).graph.graph
    assert "Constant" not in {node.op_type for node in plain.node}
    shapes = {
        one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim]
        for one in (*plain.input, *plain.value_info, *plain.output)
    }
    assert shapes == {
        "hu": [1, 1, *networks.SIZE],
        "less": [1, 1, *networks.SIZE],
        "mean": [1, 1, 1, 1, 1],
        "flat": [1, 1],
        "probability": [1, 1],
    }
    assert np.isclose(next(one for one in plain.initializer if one.name == "half").float_data[0], 0.5)
