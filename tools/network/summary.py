"""What a network costs, layer by layer: parameters, multiply-adds, bytes. Shapes alone are computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from tools.network.configuration import Configuration
from tools.network.csacnet import CsacNet

BYTES: Final = 2
"""Of a number in FP16."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as an engine runs it for one volume, with the normalisation that follows folded in.

    `kernel` and `dilation` are along depth, height and width, `out` is the shape [channels, depth, height,
    width] or [features]. `bytes` is what it reads and writes in FP16: input, output and weights, each once.
    """

    name: str
    kind: str
    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    out: tuple[int, ...]
    parameters: int
    multiply_adds: int
    bytes: int


def layers(configuration: Configuration) -> list[Layer]:
    """The convolutions, poolings and fully connected layers of CSAC-Net in the order in which they run."""
    with torch.device("meta"):
        network = CsacNet(configuration).eval()
        volume = torch.empty(1, 1, *configuration.grid.size)
    found: list[Layer] = []

    def seen(name: str, module: nn.Module, given: tuple[Tensor], out: Tensor) -> None:
        if isinstance(module, nn.BatchNorm3d):
            found[-1] = replace(found[-1], parameters=found[-1].parameters + _parameters(module))
        else:
            found.append(_layer(name, module, given[0], out))

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv3d | nn.BatchNorm3d | nn.MaxPool3d | nn.Linear):
            module.register_forward_hook(lambda module, given, out, name=name: seen(name, module, given, out))
    network(volume)
    return found


def _layer(name: str, module: nn.Module, given: Tensor, out: Tensor) -> Layer:
    kernel: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    weights = 0
    match module:
        case nn.Conv3d():
            kernel, dilation = tuple(module.kernel_size), tuple(module.dilation)
            kind = "atrous convolution" if max(dilation) > 1 else "convolution"
            weights = module.weight.numel()
            multiply_adds = weights * math.prod(out.shape[2:])
        case nn.MaxPool3d():
            size = module.kernel_size
            kernel = (size,) * 3 if isinstance(size, int) else tuple(size)
            kind, multiply_adds = "max pooling", 0
        case nn.Linear():
            kind, weights = "fully connected", module.weight.numel()
            multiply_adds = weights
        case _:
            raise TypeError(f"{name} is a {type(module).__name__}")
    return Layer(
        name=name,
        kind=kind,
        kernel=kernel,
        dilation=dilation,
        out=tuple(out.shape[1:]),
        parameters=_parameters(module),
        multiply_adds=multiply_adds,
        bytes=BYTES * (given.numel() + out.numel() + weights),
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
