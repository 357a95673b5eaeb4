"""What goes into a model and comes out of it, checked: the same for every runner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.protocol import BadOutput, EngineError, Float32
from engines.spec import ModelSpec

Output = npt.NDArray[np.generic]
Shape = Sequence[int | str | None]
"""Sizes; a name or None stands for what only the run decides."""


class Tensor(NamedTuple):
    """An input or output as a runner describes it; `dtype` is numpy's name."""

    dtype: str
    shape: Shape


def check_signature(inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], spec: ModelSpec) -> None:
    """Raise EngineError unless the model has the inputs and outputs that its specification names."""
    if list(inputs) != [spec.input]:
        raise _mismatch(spec, f"the inputs are {_list(inputs)}, the specification names {spec.input}")
    takes, shape = inputs[spec.input], _input_shape(spec)
    if takes.dtype != spec.dtype or not _fits(takes.shape, shape):
        raise _mismatch(
            spec,
            f"input {spec.input} is {takes.dtype} {_by(takes.shape)}, "
            f"the specification says {spec.dtype} {_by(shape)} ({spec.layout})",
        )
    for name in filter(None, (spec.output, spec.heatmap)):
        if name not in outputs:
            raise _mismatch(spec, f"the outputs are {_list(outputs)}, the specification names {name}")
        if outputs[name].dtype != "float32":
            raise _mismatch(spec, f"output {name} is {outputs[name].dtype}, not float32")
    problem = _score_problem(outputs[spec.output].shape, spec)
    if spec.heatmap and not problem:
        problem = _heatmap_problem(outputs[spec.heatmap].shape, spec)
    if problem:
        raise _mismatch(spec, problem)


def input_tensor(volume: Float32, spec: ModelSpec) -> Float32:
    """A float32 HU volume [D, H, W] as the model's contiguous input tensor, a view where it can be.

    Raises EngineError when the volume has another type or shape or is not finite.
    """
    if volume.dtype != np.float32 or volume.shape != spec.grid.size:
        raise EngineError(
            f"the volume is {volume.dtype} {_by(volume.shape)} and model {spec.name} takes float32 "
            f"{_by(spec.grid.size)}: make it on the model's grid"
        )
    if not np.isfinite(volume).all():
        raise EngineError("the volume holds values that are not finite: read the series again")
    return np.ascontiguousarray(volume).reshape(_input_shape(spec))


def probability(output: Output, spec: ModelSpec) -> float:
    """The probability of the specification's class, a logit through the sigmoid in float64.

    Raises BadOutput when it is not finite or outside [0, 1].
    """
    if problem := _score_problem(output.shape, spec):
        raise BadOutput(f"model {spec.name}: {problem}")
    value = float(output.ravel()[spec.class_index])
    if not math.isfinite(value):
        raise BadOutput(f"model {spec.name} gave a {spec.output_kind} that is not finite: do not use it")
    if spec.output_kind == "logit":
        return _sigmoid(value)
    if not 0 <= value <= 1:
        raise BadOutput(
            f"model {spec.name} gave the probability {value:g}, not within 0 and 1: do not use it"
        )
    return value


def heatmap(output: Output, spec: ModelSpec) -> Float32:
    """The heatmap as float32 [d, h, w]; raises BadOutput when it is not finite or has negative values."""
    if problem := _heatmap_problem(output.shape, spec):
        raise BadOutput(f"model {spec.name}: {problem}")
    cells = np.ascontiguousarray(output[0, 0] if spec.layout == "NCDHW" else output[0, ..., 0], np.float32)
    if not np.isfinite(cells).all():
        raise BadOutput(f"model {spec.name} gave a heatmap that is not finite: do not use it")
    if cells.min() < 0:
        raise BadOutput(f"model {spec.name} gave a heatmap with negative values: do not use it")
    return cells


def _input_shape(spec: ModelSpec) -> tuple[int, ...]:
    """One volume, one channel."""
    return (1, 1, *spec.grid.size) if spec.layout == "NCDHW" else (1, *spec.grid.size, 1)


def _score_problem(shape: Shape, spec: ModelSpec) -> str | None:
    """Why an output of this shape is not one score for each class, if it is not."""
    classes = shape[-1] if shape else 1
    if _fits(shape[:-1], (1,) * len(shape[:-1])) and not (
        isinstance(classes, int) and classes <= spec.class_index
    ):
        return None
    return f"output {spec.output} is {_by(shape)}, which has no class {spec.class_index} of one volume"


def _heatmap_problem(shape: Shape, spec: ModelSpec) -> str | None:
    """Why an output of this shape is not a map over the grid, if it is not."""
    one = (0, 1) if spec.layout == "NCDHW" else (0, -1)
    if len(shape) == 5 and all(_fits([shape[axis]], [1]) for axis in one):
        cells = zip(spec.grid.size, _cells(shape, spec), strict=True)
        if all(not isinstance(count, int) or (count > 0 and size % count == 0) for size, count in cells):
            return None
    return (
        f"heatmap {spec.heatmap} is {_by(shape)}, which is not one channel ({spec.layout}) "
        f"whose cells divide {_by(spec.grid.size)}"
    )


def _cells(shape: Shape, spec: ModelSpec) -> Shape:
    return shape[2:] if spec.layout == "NCDHW" else shape[1:-1]


def _fits(shape: Shape, wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(
        not isinstance(size, int) or size == want for size, want in zip(shape, wanted, strict=True)
    )


def _sigmoid(logit: float) -> float:
    """Written so that neither tail overflows."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    return math.exp(logit) / (1 + math.exp(logit))


def _mismatch(spec: ModelSpec, what: str) -> EngineError:
    return EngineError(f"model {spec.name} does not match its specification: {what}; export it again")


def _by(shape: Shape) -> str:
    return " × ".join("?" if size is None else str(size) for size in shape) or "a scalar"


def _list(names: Mapping[str, Tensor]) -> str:
    return ", ".join(names) or "none"
