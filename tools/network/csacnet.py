"""3D CSAC-Net: a 3D residual network with cross-layer sub-networks of sparse separable atrous convolution.

Yao et al., European Radiology 2021, doi 10.1007/s00330-021-07797-x. The paper's text gives the idea and the
counts: 39 3D convolutions, 10 atrous ones, 3 + 5 3D max poolings, 3 fully connected layers, and three
sub-networks between residual modules whose maps are merged into the baseline's output. Its table of layers is
not available; the one here meets every count and is ours.

Tensors are [batch, channel, depth, height, width] in the patient's frame, densities in HU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from tools.network.configuration import Configuration

WINDOW_HU: Final = (-1000.0, 200.0)
"""Densities are clipped to it and scaled to [0, 1], inside of the network."""

BLOCKS: Final = (3, 4, 6, 3)
"""Residual blocks of each module, as in a ResNet-34."""


class Reading(NamedTuple):
    """What the network says of a batch: `probability` [n, 1], `heatmap` [n, 1, d, h, w], not negative."""

    probability: Tensor
    heatmap: Tensor


Triple = tuple[int, int, int]


def _convolution(before: int, after: int, size: Triple, dilation: Triple = (1, 1, 1)) -> nn.Conv3d:
    """One that keeps the grid."""
    depth, height, width = (gap * (extent // 2) for gap, extent in zip(dilation, size, strict=True))
    return nn.Conv3d(before, after, size, padding=(depth, height, width), dilation=dilation, bias=False)


class Block(nn.Module):
    """Two convolutions 3 x 3 x 3 and what goes around them; it begins as what goes around."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = _convolution(before, after, (3, 3, 3))
        self.first_norm = nn.BatchNorm3d(after)
        self.second = _convolution(after, after, (3, 3, 3))
        self.second_norm = nn.BatchNorm3d(after)
        self.around = (
            nn.Identity()
            if before == after
            else nn.Sequential(_convolution(before, after, (1, 1, 1)), nn.BatchNorm3d(after))
        )
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, maps: Tensor) -> Tensor:
        inner = torch.relu(self.first_norm(self.first(maps)))
        return torch.relu(self.second_norm(self.second(inner)) + self.around(maps))


def residual_module(before: int, after: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(Block(before, after), *(Block(after, after) for _ in range(blocks - 1)))


def _rectified(convolution: nn.Conv3d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm3d(convolution.out_channels), nn.ReLU())


class SparseSeparableAtrous(nn.Sequential):
    """SSAC: an atrous convolution in plane, then one along the axis. Training keeps its weights sparse."""

    def __init__(self, before: int, after: int, dilation: int) -> None:
        super().__init__(
            _rectified(_convolution(before, after, (1, 3, 3), (1, dilation, dilation))),
            _rectified(_convolution(after, after, (3, 1, 1), (dilation, 1, 1))),
        )


def _merging(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(_rectified(_convolution(before, after, (1, 1, 1))), nn.MaxPool3d(2))


class Head(nn.Module):
    """Three fully connected layers, from averaged maps [n, channels] to a logit [n, 1]."""

    def __init__(self, channels: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.first = nn.Linear(channels, hidden[0])
        self.second = nn.Linear(hidden[0], hidden[1])
        self.last = nn.Linear(hidden[1], 1)

    def hidden(self, averaged: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.relu(self.first(averaged))
        return one, torch.relu(self.second(one))

    def forward(self, averaged: Tensor) -> Tensor:
        _, two = self.hidden(averaged)
        logit: Tensor = self.last(two)
        return logit

    def slope(self, averaged: Tensor) -> Tensor:
        """The exact gradient of the logit [n, channels] with respect to the averaged maps, in forward
        operators alone: a layer's share is its weights where its rectifier lets through."""
        one, two = self.hidden(averaged)
        through = torch.sign(two) * self.last.weight
        through = torch.sign(one) * (through @ self.second.weight)
        return through @ self.first.weight


def scaled(hu: Tensor) -> Tensor:
    low, high = WINDOW_HU
    return (hu.clamp(low, high) - low) * (1 / (high - low))


class ResNet(nn.Module):
    """The paper's baseline: a residual network, a head on its averaged maps, and a heatmap.

    `lit` are the channels of the maps that the heatmap shows. `besides` are channels that others add to them.
    """

    def __init__(self, configuration: Configuration, besides: int = 0) -> None:
        super().__init__()
        widths = configuration.widths
        self.head = Head(widths[3] + besides, configuration.head)
        self.stem = _rectified(
            nn.Conv3d(1, widths[0], (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
        )
        self.residual = nn.ModuleList(
            residual_module(before, after, blocks)
            for before, after, blocks in zip((widths[0], *widths[:3]), widths, BLOCKS, strict=True)
        )
        self.pools = nn.ModuleList(nn.MaxPool3d(2) for _ in range(3))
        self.lit = slice(0, widths[3])

    def levels(self, hu: Tensor) -> Iterator[Tensor]:
        """What comes out of each residual module."""
        maps = self.stem(scaled(hu))
        for number, module in enumerate(self.residual):
            maps = module(self.pools[number - 1](maps) if number else maps)
            yield maps

    def maps(self, hu: Tensor) -> Tensor:
        """The maps [n, channels, d, h, w] of volumes [n, 1, D, H, W] in HU."""
        *_, maps = self.levels(hu)
        return maps

    def sparsity(self) -> Tensor:
        """What training keeps small besides: nothing."""
        return torch.zeros((), device=self.head.last.weight.device)

    def forward(self, hu: Tensor) -> Tensor:
        """Logits [n, 1]."""
        logit: Tensor = self.head(self.maps(hu).mean((2, 3, 4)))
        return logit

    def read(self, hu: Tensor) -> Reading:
        """Probability and heatmap in one pass. A cell of the heatmap is what it adds to the logit, or 0."""
        maps = self.maps(hu)
        averaged = maps.mean((2, 3, 4))
        cells = maps[0, 0].numel()
        slope = self.head.slope(averaged)[:, self.lit, None, None, None] / cells
        heatmap = torch.relu((maps[:, self.lit] * slope).sum(1, keepdim=True))
        return Reading(torch.sigmoid(self.head(averaged)), heatmap)


class CsacNet(ResNet):
    """The network of the paper, in one of its sizes: the baseline with a sub-network beside each of its first
    three modules, whose maps are merged into its own."""

    def __init__(self, configuration: Configuration) -> None:
        one, two, three, four = configuration.widths
        first, other = configuration.cross
        merged = configuration.merged
        super().__init__(configuration, 3 * merged)
        self.cross = nn.ModuleList(
            (
                nn.Sequential(
                    SparseSeparableAtrous(one, first, 2),
                    nn.MaxPool3d(4),
                    SparseSeparableAtrous(first, other, 3),
                    _merging(other, merged),
                ),
                nn.Sequential(
                    SparseSeparableAtrous(two, other, 2),
                    nn.MaxPool3d(2),
                    SparseSeparableAtrous(other, other, 3),
                    _merging(other, merged),
                ),
                nn.Sequential(SparseSeparableAtrous(three, other, 2), _merging(other, merged)),
            )
        )
        # What comes out of the last max pooling is merged last.
        self.lit = slice(four + 2 * merged, four + 3 * merged)

    def maps(self, hu: Tensor) -> Tensor:
        crossed = []
        for number, level in enumerate(self.levels(hu)):
            maps = level
            if number < len(self.cross):
                crossed.append(self.cross[number](level))
        return torch.cat([maps, *crossed], 1)

    def sparsity(self) -> Tensor:
        """The L1 norm of the weights of the atrous convolutions, which training keeps small."""
        weights = [
            layer.weight
            for layer in self.cross.modules()
            if isinstance(layer, nn.Conv3d) and max(layer.dilation) > 1
        ]
        return torch.stack([weight.abs().sum() for weight in weights]).sum()
