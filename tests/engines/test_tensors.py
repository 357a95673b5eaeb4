"""The checks that every runner shares."""

import numpy as np
import pytest

from engines.protocol import BadOutput, EngineError
from engines.tensors import Tensor, check_signature, heatmap, input_tensor, probability


@pytest.fixture
def mapped(spec):
    return spec.model_copy(update={"heatmap": "map"})


def described(spec, score=(1, 1), cells=(1, 1, 2, 4, 4), dtype="float32"):
    return (
        {"volume": Tensor("float32", (1, 1, 4, 8, 8))},
        {"probability": Tensor("float32", score), "map": Tensor(dtype, cells)},
        spec,
    )


@pytest.mark.parametrize("score", [(1, 1), (1,), (), ("batch", 1), (None, "classes")])
@pytest.mark.parametrize(
    "cells", [(1, 1, 2, 4, 4), (1, 1, 4, 8, 8), (1, 1, 1, 1, 1), ("batch", 1, None, "h", "w")]
)
def test_shapes_that_fit(mapped, score, cells):
    check_signature(*described(mapped, score, cells))


@pytest.mark.parametrize(
    ("score", "cells"),
    [
        ((2, 1), (1, 1, 2, 4, 4)),
        ((1, 0), (1, 1, 2, 4, 4)),
        ((1, 1), (1, 1, 3, 4, 4)),
        ((1, 1), (1, 1, 0, 4, 4)),
        ((1, 1), (1, 1, 8, 8, 8)),
        ((1, 1), (1, 2, 2, 4, 4)),
        ((1, 1), (2, 4, 4)),
        ((1, 1), (1, 2, 4, 4, 1)),
    ],
)
def test_shapes_that_do_not_fit(mapped, score, cells):
    with pytest.raises(EngineError, match="model tiny does not match its specification: "):
        check_signature(*described(mapped, score, cells))


def test_half_precision_output(mapped):
    with pytest.raises(EngineError, match="output map is float16, not float32"):
        check_signature(*described(mapped, dtype="float16"))


def test_second_input(spec):
    inputs, outputs, _ = described(spec)
    with pytest.raises(EngineError, match="the inputs are volume, age, the specification names volume"):
        check_signature(inputs | {"age": Tensor("float32", (1,))}, outputs, spec)


def test_input_is_not_copied(spec):
    volume = np.zeros((4, 8, 8), np.float32)
    assert np.shares_memory(input_tensor(volume, spec), volume)
    assert input_tensor(volume, spec.model_copy(update={"layout": "NDHWC"})).shape == (1, 4, 8, 8, 1)


def test_input_is_contiguous_whatever_the_view(spec):
    flipped = np.arange(256, dtype=np.float32).reshape(4, 8, 8)[::-1, :, ::-1]
    tensor = input_tensor(flipped, spec)
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor[0, 0], flipped)


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "not finite"), (np.inf, "not finite"), (-1e-6, "negative values")]
)
def test_one_bad_cell(mapped, value, said):
    cells = np.zeros((1, 1, 2, 4, 4), np.float32)
    cells[0, 0, 1, 2, 3] = value
    with pytest.raises(BadOutput, match=said):
        heatmap(cells, mapped)


def test_shapes_that_only_the_run_decided(mapped):
    with pytest.raises(BadOutput, match="which is not one channel"):
        heatmap(np.zeros((1, 1, 3, 4, 4), np.float32), mapped)
    with pytest.raises(BadOutput, match="which has no class 0 of one volume"):
        probability(np.zeros((2, 1), np.float32), mapped)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_ends_of_the_range_are_probabilities(spec, value):
    assert probability(np.float32([[value]]), spec) == value
