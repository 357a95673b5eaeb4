"""Plans of the real TensorRT-RTX: of the types that were judged, for the GPUs that were named.

What needs a GPU, the enterprise flavour's build, is not run here; its settings are set on the same bindings.
"""

from __future__ import annotations

from pathlib import Path

import built_networks as networks
import onnx
import pytest
from onnx import helper
from test_build_parity import silent

trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: make rtx")

from engines.bundle import default_model  # noqa: E402
from engines.nvidia import Gpu, NvidiaError, TensorRTLog  # noqa: E402
from tools.build_engine.graph import key  # noqa: E402
from tools.build_engine.plan import (  # noqa: E402
    PREFERRED,
    Plan,
    PlanError,
    Target,
    _check_timing_cache,
    _not_built,
    _OnTheGpu,
    build,
    check_operators,
    check_target,
)
from tools.build_engine.precision import head, mixed, never_half  # noqa: E402
from tools.build_engine.source import read_source  # noqa: E402
from tools.build_engine.tensor_types import mistyped  # noqa: E402
from tools.problem import WrongInput  # noqa: E402


def small(folder: Path) -> onnx.ModelProto:
    graph = networks.source(networks.network(), folder).graph
    return mixed(graph, head(graph))


def planned(model: onnx.ModelProto, *capabilities: str) -> Plan:
    return build(model, Target("rtx", capabilities), silent)


def test_a_plan_for_every_preferred_gpu(tmp_path: Path) -> None:
    plan = planned(small(tmp_path))
    assert plan.content.startswith(b"vtrt")
    assert plan.compute_capabilities == PREFERRED
    assert plan.device is None
    assert plan.tensorrt == trt.__version__
    assert planned(small(tmp_path)).content == plan.content


def test_a_plan_for_one_gpu_is_another_one(tmp_path: Path) -> None:
    one = planned(small(tmp_path), "8.6")
    assert one.compute_capabilities == ("8.6",)
    assert one.content != planned(small(tmp_path), "8.9").content


def test_the_demonstration_model() -> None:
    graph = read_source(default_model()).graph
    plan = planned(mixed(graph, head(graph)))
    assert plan.compute_capabilities == PREFERRED
    assert len(plan.content) > 2_000_000


def everything(graph: onnx.ModelProto) -> frozenset[str]:
    return frozenset(key(node) for node in graph.graph.node)


def test_turing_refuses_an_fp32_head_and_takes_all_in_fp16(tmp_path: Path) -> None:
    graph = networks.source(networks.network(), tmp_path).graph
    with pytest.raises(PlanError, match=r"Turing GPUs \(7.5\) have no FP32") as caught:
        planned(mixed(graph, head(graph)), "7.5", "8.6")
    assert "FP32 GEMM is not supported" in caught.value.detail
    assert planned(mixed(graph, frozenset(never_half(graph))), "7.5").content.startswith(b"vtrt")


def test_a_gpu_that_is_not_offered() -> None:
    with pytest.raises(WrongInput, match=r"7.0 is not one of 7.5, 8.0, .* name one of them"):
        check_target(Target("rtx", ("7.0",)))


@pytest.mark.parametrize(
    "target",
    [
        Target("enterprise", ("8.6",)),
        Target("rtx", version_compatible=True),
        Target("rtx", hardware_compatible=True),
        Target("rtx", timing_cache=Path("timings")),
    ],
)
def test_an_option_of_the_other_flavour(target: Target) -> None:
    with pytest.raises(WrongInput, match="for --flavour"):
        check_target(target)


def test_the_enterprise_flavour_needs_a_gpu() -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("a GPU is here")
    with pytest.raises(NvidiaError, match="builds on the GPU that the plan is for, and none can be used: "):
        check_target(Target("enterprise"))


def test_an_operator_that_tensorrt_does_not_have(tmp_path: Path) -> None:
    graph = networks.Graph()
    maps = graph.add("Conv", "maps", "hu", networks.weights(1, 1, 1, 1, 1))
    square = graph.add("Det", "determinant", maps)
    graph.add("Sigmoid", "probability", graph.add("ReduceMean", "mean", square, axes=[2], keepdims=0))
    spec = networks.SPEC.model_copy(update={"heatmap": None})
    model = networks.source(graph.model([networks.PROBABILITY], spec=spec), tmp_path).graph
    with pytest.raises(PlanError, match=r"TensorRT cannot take Det \(node_determinant\)") as caught:
        check_operators(mixed(model, frozenset(never_half(model))), Target("rtx"))
    assert caught.value.detail


def test_an_fp32_network_is_not_taken_for_the_fp16_one(tmp_path: Path) -> None:
    """It parses and builds without a word."""
    graph = networks.source(networks.network(), tmp_path).graph
    wanted, given = mixed(graph, head(graph)), mixed(graph, everything(graph))
    log = TensorRTLog(trt)
    builder = trt.Builder(log.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log.logger)
    assert parser.parse(given.SerializeToString())
    assert mistyped(trt, network, given) == ""
    assert mistyped(trt, network, wanted) == "tensor clipped for FLOAT, not HALF"


def test_an_fp32_network_gets_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parser makes of a model is looked at before it is built: here it is given another one."""
    graph = networks.source(networks.network(), tmp_path).graph
    wanted, other = mixed(graph, head(graph)), mixed(graph, everything(graph))
    real = trt.OnnxParser.parse
    monkeypatch.setattr(trt.OnnxParser, "parse", lambda parser, _: real(parser, other.SerializeToString()))
    with pytest.raises(PlanError, match="TensorRT took tensor clipped for FLOAT, not HALF, so that the plan"):
        planned(wanted)


def test_a_model_without_a_network() -> None:
    """It parses as any other."""
    empty = helper.make_model(helper.make_graph([], "", [], []))
    with pytest.raises(PlanError, match="found no network in the model"):
        planned(empty)


def test_a_convolution_that_the_parser_made_something_else_of(tmp_path: Path) -> None:
    model = small(tmp_path)
    log = TensorRTLog(trt)
    network = trt.Builder(log.logger).create_network(
        1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    )
    parser = trt.OnnxParser(network, log.logger)
    assert parser.parse(model.SerializeToString())
    for place in range(network.num_layers):
        if network.get_layer(place).get_output(0).name == "first":
            network.get_layer(place).get_output(0).name = "other"
    assert mistyped(trt, network, model) == "Conv first for something else"


def test_its_progress_is_heard(tmp_path: Path) -> None:
    heard = []
    build(small(tmp_path), Target("rtx"), lambda *told: heard.append(told))
    assert heard
    assert all(what == "TensorRT" and 0 < done <= total for what, done, total in heard)


def test_the_settings_of_the_enterprise_flavour_are_set(tmp_path: Path) -> None:
    log = TensorRTLog(trt)
    config = trt.Builder(log.logger).create_builder_config()
    target = Target("enterprise", version_compatible=True, hardware_compatible=True)
    way = _OnTheGpu(trt, target, Gpu("a GPU", "8.6", 8 << 30, "580.65"), 5_000_000_000)
    options = way.configure(config)
    assert options == {
        "workspace_bytes": 4_000_000_000,
        "version_compatible": True,
        "hardware_compatible": True,
    }
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 4_000_000_000
    assert config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    # TensorRT-RTX has the level and takes no notice of it.
    assert "setHardwareCompatibilityLevel() is unsupported" in " ".join(line for _, line in log.lines)
    assert (way.device, way.compute_capabilities) == ("a GPU", ("8.6",))


class Timings(bytes):
    def serialize(self) -> bytes:
        return bytes(self) + b" and more"


class Timed:
    """A builder's configuration that takes timings as TensorRT's does; TensorRT-RTX's keeps none."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def set_memory_pool_limit(self, *_: object) -> None: ...

    def create_timing_cache(self, content: bytes) -> Timings | None:
        return None if content == b"no timings at all" else Timings(content)

    def set_timing_cache(self, timings: Timings, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.taken.append(bytes(timings))
        return timings != b"of another GPU"


def timed(file: Path) -> _OnTheGpu:
    target = Target("enterprise", timing_cache=file)
    return _OnTheGpu(trt, target, Gpu("a GPU", "8.6", 8 << 30, "580.65"), 1)


def test_the_double_has_no_call_of_its_own() -> None:
    called = {name for name in vars(Timed) if not name.startswith("_")}
    assert called <= set(dir(trt.IBuilderConfig))
    assert hasattr(trt.ITimingCache, "serialize")
    assert "ignore_mismatch: bool" in trt.IBuilderConfig.set_timing_cache.__doc__


def test_timings_are_kept_and_those_of_another_machine_are_not_used(tmp_path: Path) -> None:
    file = tmp_path / "bundle.timings"
    way = timed(file)
    for kept, taken, then in (
        (None, [b""], b" and more"),
        (b"some", [b"some"], b"some and more"),
        (b"of another GPU", [b"of another GPU", b""], b" and more"),
        (b"no timings at all", [b""], b" and more"),
    ):
        if kept is not None:
            file.write_bytes(kept)
        config = Timed()
        way.configure(config)
        assert config.taken == taken
        way.built()
        assert file.read_bytes() == then


@pytest.mark.parametrize("name", ["gone/timings", "folder"])
def test_timings_that_could_not_be_kept_are_told_before_the_build(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(WrongInput, match="is no file that can be written: name another one"):
        _check_timing_cache(tmp_path / name)
    _check_timing_cache(tmp_path / "new")
    _check_timing_cache(None)


def test_timings_that_cannot_be_kept_cost_no_plan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    way = timed(tmp_path / "gone" / "timings")
    way.configure(Timed())
    way.built()
    assert "The timings of this build cannot be kept in" in caplog.text


@pytest.mark.parametrize(
    "said",
    [
        "[virtualMemoryBuffer.cpp::resizePhysical::154] Error Code 2: OutOfMemory (8589934592 bytes)",
        "Cuda Runtime (out of memory)",
        "std::bad_alloc",
    ],
)
def test_out_of_memory_is_told(said: str) -> None:
    """As TensorRT's logger has it; it does not occur without a GPU."""
    error = _not_built(said)
    assert "TensorRT ran out of memory" in str(error)
    assert error.detail == said


def test_an_error_keeps_nothing_of_tensorrt() -> None:
    """What it kept would be freed some time later, in the worst case while TensorRT holds its own lock."""
    empty = helper.make_model(helper.make_graph([], "", [], []))
    for attempt in (lambda: planned(empty), lambda: check_operators(empty, Target("rtx"))):
        with pytest.raises(PlanError) as caught:
            attempt()
        held = [value for entry in caught.traceback for value in entry.frame.f_locals.values()]
        assert not [one for one in held if isinstance(one, trt.Builder | trt.INetworkDefinition)]
