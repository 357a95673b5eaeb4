"""The network is the paper's by its counts, in PyTorch and in ONNX, and both say the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'scanlight[train]'")

from engines.bundle import embedded_model, load_model  # noqa: E402
from engines.spec import ModelSpec  # noqa: E402
from tools.network.configuration import CONFIGURATIONS, Size  # noqa: E402
from tools.network.csacnet import CsacNet, ResNet  # noqa: E402
from tools.network.export import to_onnx  # noqa: E402
from tools.network.summary import layers  # noqa: E402

PAPER = {"convolution": 39, "atrous convolution": 10, "max pooling": 3 + 5, "fully connected": 3}


def spec(size: Size) -> ModelSpec:
    update = {"name": "csac-net", "grid": CONFIGURATIONS[size].grid}
    return load_model(embedded_model("densitometry")).spec.model_copy(update=update)


def trained(kind: type[ResNet] = CsacNet, size: Size = "edge") -> ResNet:
    """Weights as after some training: no branch is silent, and nothing is at its mean."""
    torch.manual_seed(3)
    network = kind(CONFIGURATIONS[size])
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    # All that is averaged raises the logit, so that the heatmap is not dark.
    for layer in (network.head.first, network.head.second, network.head.last):
        layer.weight.data.abs_()
    return network.eval()


def volume(size: Size) -> np.ndarray:
    return (
        np.random.default_rng(4).normal(-600, 400, (1, 1, *CONFIGURATIONS[size].grid.size)).astype(np.float32)
    )


@pytest.mark.parametrize("size", CONFIGURATIONS)
def test_the_layers_are_as_many_as_the_papers(size: Size) -> None:
    assert Counter(one.kind for one in layers(CONFIGURATIONS[size])) == PAPER


def test_three_poolings_are_in_the_baseline_and_five_in_the_sub_networks() -> None:
    names = [one.name for one in layers(CONFIGURATIONS["edge"]) if one.kind == "max pooling"]
    assert Counter(name.partition(".")[0] for name in names) == {"pools": 3, "cross": 5}


@pytest.mark.parametrize(
    ("size", "parameters", "giga"), [("edge", 1_052_521, 9.06), ("full", 4_174_929, 79.8)]
)
def test_what_a_size_costs(size: Size, parameters: int, giga: float) -> None:
    found = layers(CONFIGURATIONS[size])
    assert sum(one.parameters for one in found) == parameters
    assert sum(p.numel() for p in CsacNet(CONFIGURATIONS[size]).parameters()) == parameters
    assert sum(one.multiply_adds for one in found) / 1e9 == pytest.approx(giga, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("size", CONFIGURATIONS)
def test_onnx_has_the_same_layers_and_says_the_same(size: Size) -> None:
    network = trained(size=size)
    content = to_onnx(network, spec(size))
    graph = onnx.load_from_string(content).graph
    dilated = [max(one.ints) > 1 for node in graph.node for one in node.attribute if one.name == "dilations"]
    kinds = Counter(node.op_type for node in graph.node)
    assert (kinds["Conv"] - sum(dilated), sum(dilated), kinds["MaxPool"], kinds["Gemm"]) == (39, 10, 8, 3)
    assert "BatchNormalization" not in kinds
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = volume(size)
    probability, heatmap = session.run(None, {"volume": given})
    with torch.no_grad():
        expected = network.read(torch.from_numpy(given))
    assert abs(probability - expected.probability.numpy()).max() < 1e-5
    assert expected.heatmap.max() > 1e-4
    assert abs(heatmap - expected.heatmap.numpy()).max() < 1e-5
    depth, height, width = CONFIGURATIONS[size].grid.size
    assert heatmap.shape == (1, 1, depth // 8, height // 16, width // 16)
    assert to_onnx(network, spec(size)) == content


@pytest.mark.parametrize("kind", [CsacNet, ResNet])
def test_the_heatmap_is_the_gradient_of_the_logit_along_the_maps(kind: type[ResNet]) -> None:
    network = trained(kind)
    # Far from what training leaves: some units of the head are silent.
    averaged = torch.randn(5, network.head.first.in_features, requires_grad=True)
    network.head(averaged).sum().backward()
    assert torch.allclose(network.head.slope(averaged.detach()), averaged.grad, atol=1e-6)


def test_it_begins_as_the_shortcuts_alone() -> None:
    """Residual branches begin silent, so that a deep network learns from the first step on."""
    torch.manual_seed(5)
    network = CsacNet(CONFIGURATIONS["edge"]).eval()
    block = network.residual[0][1]
    maps = torch.rand(1, 8, 4, 4, 4)
    assert torch.equal(block(maps), maps)


def test_the_sparsity_is_that_of_the_atrous_weights_alone() -> None:
    network = CsacNet(CONFIGURATIONS["edge"])
    network.sparsity().backward()
    touched = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert len(touched) == 10
    assert all(name.startswith("cross") for name in touched)
