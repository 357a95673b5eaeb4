"""The double of TensorRT has what the installed bindings have: the same names, the same parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from types import ModuleType

import pytest
import tensorrt_double

CLASSES = [
    thing
    for thing in vars(tensorrt_double).values()
    if inspect.isclass(thing) and thing.__module__ == tensorrt_double.__name__
]
GONE = (
    "execute_async_v2",
    "execute_async",
    "num_bindings",
    "get_binding_shape",
    "get_binding_name",
    "device_memory_size",
)


@pytest.fixture(scope="module")
def real() -> ModuleType:
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: make rtx")


def parameters(documented: str, name: str) -> Iterator[list[str]]:
    """The names in each signature of a pybind11 docstring, without self."""
    for written in re.findall(rf"^(?:\d+\. )?{name}\((.*)\) -> ", documented, re.M):
        flat, before = written, ""
        while flat != before:
            flat, before = re.sub(r"\[[^\[\]]*\]|<[^<>]*>|\([^()]*\)", "", flat), flat
        yield [one.split(":")[0].strip() for one in flat.split(",")][1:]


def own(thing: type) -> dict[str, object]:
    return {name: value for name, value in vars(thing).items() if not name.startswith("_")}


def test_the_version_is_the_one_that_it_was_checked_against(real: ModuleType) -> None:
    assert tensorrt_double.__version__ == real.__version__


@pytest.mark.parametrize("double", CLASSES, ids=lambda double: double.__name__)
def test_a_class_has_nothing_that_the_real_one_has_not(real: ModuleType, double: type) -> None:
    original = getattr(real, double.__name__)
    if issubclass(double, Enum):
        assert {name: one.value for name, one in double.__members__.items()} == {
            name: int(original.__members__[name]) for name in double.__members__
        }
        return
    instance_attributes = {"Runtime": {"logger", "engine_host_code_allowed"}}.get(double.__name__, set())
    names = own(double).keys() | instance_attributes
    assert names <= set(dir(original))
    assert not names & set(GONE)
    for name, value in own(double).items():
        if inspect.isfunction(value):
            ours = list(inspect.signature(value).parameters)[1:]
            theirs = list(parameters(getattr(original, name).__doc__, name))
            assert ours in theirs, f"{double.__name__}.{name}: {ours} is none of {theirs}"


def test_runtime_and_types_are_made_as_the_real_ones(real: ModuleType) -> None:
    assert list(parameters(real.Runtime.__init__.__doc__, "__init__")) == [["logger"]]
    assert list(inspect.signature(tensorrt_double.Runtime).parameters) == ["logger"]
    for one in tensorrt_double.DataType:
        assert tensorrt_double.nptype(one) is real.nptype(getattr(real.DataType, one.name))


@pytest.mark.parametrize("name", GONE)
def test_what_is_gone_is_not_there(real: ModuleType, name: str) -> None:
    for thing in (
        real.ICudaEngine,
        real.IExecutionContext,
        tensorrt_double.ICudaEngine,
        tensorrt_double.IExecutionContext,
    ):
        assert not hasattr(thing, name)
