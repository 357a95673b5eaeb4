"""The CPU engine on tiny models: right scores come out, wrong ones do not."""

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import load_model
from engines.onnxruntime import OnnxRuntimeEngine
from engines.protocol import BadOutput, EngineError
from engines.runner import open_engine
from engines.spec import to_metadata

GRID = (4, 8, 8)


@pytest.fixture
def engine(make_model):
    def make(*args, **kwargs):
        return open_engine(make_model(*args, **kwargs), threads=1)

    return make


@pytest.fixture
def volume():
    return np.random.default_rng(1).uniform(0, 1, GRID).astype(np.float32)


def with_heatmap(spec, **fields):
    return spec.model_copy(update={"heatmap": "map"} | fields)


def test_score(engine, volume, spec):
    score = engine(spec, scale=0.5, biases=(0.125,)).infer(volume)
    assert score.probability == pytest.approx(0.125 + 0.5 * volume.mean(), abs=1e-6)
    assert score.heatmap is None
    assert set(score.timings_ms) == {"prepare", "compute", "finish"}
    assert all(ms >= 0 for ms in score.timings_ms.values())


def test_identity_and_digest(make_model):
    model = load_model(make_model())
    engine = OnnxRuntimeEngine(model, threads=1)
    assert (engine.spec, engine.digest) == (model.spec, model.digest)
    assert (engine.identity.runner, engine.identity.device) == ("onnxruntime", "cpu")
    engine.close()


def test_threads_sleep_between_runs(make_model):
    options = OnnxRuntimeEngine(load_model(make_model()), threads=2)._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 2


@pytest.mark.parametrize("kind", ["auto", "cpu"])
def test_kinds(make_model, volume, kind):
    assert open_engine(make_model(), kind).infer(volume).probability == 0.25


def test_class_index(engine, volume, spec):
    chosen = spec.model_copy(update={"class_index": 2})
    assert engine(chosen, biases=(0.1, 0.2, 0.7)).infer(volume).probability == pytest.approx(0.7)


@pytest.mark.parametrize("logit", [0.0, 2.0, -3.0, 800.0, -800.0])
def test_logit(engine, volume, spec, logit):
    score = engine(spec.model_copy(update={"output_kind": "logit"}), biases=(logit,)).infer(volume)
    expected = 0.0 if logit < -700 else 1 / (1 + math.exp(-logit))
    assert score.probability == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
def test_heatmap_lies_over_the_volume(engine, spec, layout):
    volume = np.zeros(GRID, np.float32)
    volume[3, 1, 6] = 8
    engine = engine(with_heatmap(spec, layout=layout), scale=1.0, biases=(0.0,))
    score = engine.infer(volume)
    expected = np.zeros((2, 4, 4), np.float32)
    expected[1, 0, 3] = 1
    assert score.heatmap is not None
    assert score.heatmap.dtype == np.float32
    np.testing.assert_array_equal(score.heatmap, expected)
    assert score.probability == pytest.approx(8 / 256)


def test_a_view_of_a_volume_is_read_in_its_own_order(engine, spec, volume):
    engine = engine(with_heatmap(spec), scale=1.0, biases=(0.0,))
    flipped = volume[::-1, :, ::-1]
    np.testing.assert_array_equal(
        engine.infer(flipped).heatmap, engine.infer(np.ascontiguousarray(flipped)).heatmap
    )


def test_scores_are_kept_apart(engine, spec, volume):
    engine = engine(with_heatmap(spec), scale=1.0, biases=(0.0,))
    first = engine.infer(volume)
    kept = first.heatmap.copy()
    engine.infer(volume * 0)
    np.testing.assert_array_equal(first.heatmap, kept)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_volume_that_is_not_finite(engine, volume, value):
    volume[2, 3, 4] = value
    with pytest.raises(EngineError, match="the volume holds values that are not finite"):
        engine().infer(volume)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((8, 4, 8), np.float32), np.zeros((1, 1, *GRID), np.float32), np.zeros(GRID, np.float64)],
)
def test_volume_of_another_shape_or_type(engine, wrong):
    with pytest.raises(EngineError, match="model tiny takes float32 4 × 8 × 8"):
        engine().infer(wrong)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (6.0, "gave the probability 6, not within 0 and 1"),
        (-0.001, "not within 0 and 1"),
        (math.nan, "gave a probability that is not finite"),
        (math.inf, "gave a probability that is not finite"),
    ],
)
def test_impossible_probability(engine, volume, value, said):
    with pytest.raises(BadOutput, match=said):
        engine(biases=(value,)).infer(volume)


def test_logit_that_is_not_finite(engine, volume, spec):
    with pytest.raises(BadOutput, match="gave a logit that is not finite"):
        engine(spec.model_copy(update={"output_kind": "logit"}), biases=(math.inf,)).infer(volume)


def test_impossible_heatmap(engine, volume, spec):
    with pytest.raises(BadOutput, match="gave a heatmap with negative values"):
        engine(with_heatmap(spec), scale=1.0, biases=(0.5,)).infer(volume - volume.mean())


def test_model_with_a_free_batch_size(make_model, spec, volume, tmp_path):
    model = onnx.load(make_model(with_heatmap(spec), scale=1.0))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, tmp_path / "free.onnx")
    assert open_engine(tmp_path / "free.onnx").infer(volume).heatmap.shape == (2, 4, 4)


def test_float64_model(make_model, tmp_path):
    model = onnx.load(make_model())
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    model.graph.node[0].input[0] = "narrowed"
    model.graph.node.insert(0, helper.make_node("Cast", ["volume"], ["narrowed"], to=TensorProto.FLOAT))
    onnx.save(model, tmp_path / "double.onnx")
    with pytest.raises(EngineError, match=r"input volume is float64 .* the specification says float32"):
        open_engine(tmp_path / "double.onnx")


def test_run_that_fails_is_an_engine_error(make_model, spec, volume, tmp_path):
    """A Gather past its end is found out by the run alone."""
    model = onnx.load(make_model(spec.model_copy(update={"output": "score"})))
    model.graph.initializer.append(numpy_helper.from_array(np.array([7]), "seventh"))
    model.graph.node.append(helper.make_node("Gather", ["score", "seventh"], ["probability"], axis=1))
    model.graph.output[0].name = "probability"
    helper.set_model_props(model, to_metadata(spec))
    onnx.save(model, tmp_path / "fails.onnx")
    with pytest.raises(EngineError, match="ONNX Runtime failed on the volume: "):
        open_engine(tmp_path / "fails.onnx").infer(volume)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": "image"}, "the inputs are volume, the specification names image"),
        ({"output": "score"}, "the outputs are probability, map, the specification names score"),
        ({"heatmap": "cam"}, "the outputs are probability, map, the specification names cam"),
        (
            {"layout": "NDHWC"},
            "input volume is float32 1 × 1 × 4 × 8 × 8, the specification says float32 1 × 4 × 8 × 8 × 1",
        ),
        ({"class_index": 1}, "output probability is 1 × 1, which has no class 1"),
        ({"heatmap": "probability"}, "heatmap probability is 1 × 1, which is not one channel"),
        ({"output": "map"}, "output map is 1 × 1 × 2 × 4 × 4, which has no class 0 of one volume"),
    ],
)
def test_specification_of_another_model(make_model, spec, tmp_path, fields, said):
    model = onnx.load(make_model(with_heatmap(spec)))
    helper.set_model_props(model, to_metadata(with_heatmap(spec, **fields)))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(EngineError, match=f"does not match its specification: {said}"):
        open_engine(tmp_path / "other.onnx")
