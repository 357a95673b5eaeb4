"""3D CSAC-Net: a 3D residual network with cross-layer sub-networks of sparse separable atrous convolution.

Yao et al., European Radiology 2021, doi 10.1007/s00330-021-07797-x. The paper's text gives the idea and the
counts: 39 3D convolutions, 10 atrous ones, 3 + 5 3D max poolings, 3 fully connected layers, and three
sub-networks between residual modules whose maps are merged into the baseline's output. Its table of layers is
not available; the one here meets every count and is ours, as docs/model.md explains.

Tensors are [batch, channel, depth, height, width] in the patient's frame, densities in HU.
"""

from __future__ import annotations

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


class SparseSeparableAtrous(nn.Sequential):
    """SSAC: an atrous convolution in plane, then one along the axis. Training keeps its weights sparse."""

    def __init__(self, before: int, after: int, dilation: int) -> None:
        super().__init__(
            _convolution(before, after, (1, 3, 3), (1, dilation, dilation)),
            nn.BatchNorm3d(after),
            nn.ReLU(),
            _convolution(after, after, (3, 1, 1), (dilation, 1, 1)),
            nn.BatchNorm3d(after),
            nn.ReLU(),
        )


def _merging(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(_convolution(before, after, (1, 1, 1)), nn.BatchNorm3d(after), nn.ReLU())


class Head(nn.Module):
    """Three fully connected layers, from averaged maps [n, channels] to a logit [n, 1]."""

    def __init__(self, channels: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.first = nn.Linear(channels, hidden[0])
        self.second = nn.Linear(hidden[0], hidden[1])
        self.last = nn.Linear(hidden[1], 1)

    def forward(self, averaged: Tensor) -> Tensor:
        one = torch.relu(self.first(averaged))
        two = torch.relu(self.second(one))
        logit: Tensor = self.last(two)
        return logit

    def slope(self, averaged: Tensor) -> Tensor:
        """The exact gradient of the logit [n, channels] with respect to the averaged maps, in forward
        operators alone: a layer's share is its weights where its rectifier lets through."""
        one = torch.relu(self.first(averaged))
        two = torch.relu(self.second(one))
        through = torch.sign(two) * self.last.weight
        through = torch.sign(one) * (through @ self.second.weight)
        return through @ self.first.weight


class Network(nn.Module):
    """What CSAC-Net and its baseline share: maps, their average, a head, and a heatmap.

    `lit` are the channels of the maps that the heatmap shows.
    """

    lit: slice

    def __init__(self, channels: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.head = Head(channels, hidden)

    def maps(self, hu: Tensor) -> Tensor:
        """The maps [n, channels, d, h, w] of volumes [n, 1, D, H, W] in HU."""
        raise NotImplementedError

    def forward(self, hu: Tensor) -> Tensor:
        """Logits [n, 1]."""
        averaged: Tensor = self.maps(hu).mean((2, 3, 4))
        logit: Tensor = self.head(averaged)
        return logit

    def read(self, hu: Tensor) -> Reading:
        """Probability and heatmap in one pass. A cell of the heatmap holds what it adds to the logit, for all
        cells alike, where it adds anything."""
        maps = self.maps(hu)
        averaged = maps.mean((2, 3, 4))
        slope = self.head.slope(averaged)[:, self.lit, None, None, None]
        heatmap = torch.relu((maps[:, self.lit] * slope).sum(1, keepdim=True))
        return Reading(torch.sigmoid(self.head(averaged)), heatmap)


def scaled(hu: Tensor) -> Tensor:
    low, high = WINDOW_HU
    return (hu.clamp(low, high) - low) * (1 / (high - low))


class CsacNet(Network):
    """The network of the paper, in one of its sizes."""

    def __init__(self, configuration: Configuration) -> None:
        one, two, three, four = configuration.widths
        first, other = configuration.cross
        merged = configuration.merged
        super().__init__(four + 3 * merged, configuration.head)
        self.stem = nn.Sequential(
            nn.Conv3d(1, one, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
            nn.BatchNorm3d(one),
            nn.ReLU(),
        )
        self.residual = nn.ModuleList(
            residual_module(before, after, blocks)
            for before, after, blocks in zip(
                (one, *configuration.widths[:3]), configuration.widths, BLOCKS, strict=True
            )
        )
        self.pools = nn.ModuleList(nn.MaxPool3d(2) for _ in range(3))
        self.cross = nn.ModuleList(
            (
                nn.Sequential(
                    SparseSeparableAtrous(one, first, 2),
                    nn.MaxPool3d(4),
                    SparseSeparableAtrous(first, other, 3),
                    _merging(other, merged),
                    nn.MaxPool3d(2),
                ),
                nn.Sequential(
                    SparseSeparableAtrous(two, other, 2),
                    nn.MaxPool3d(2),
                    SparseSeparableAtrous(other, other, 3),
                    _merging(other, merged),
                    nn.MaxPool3d(2),
                ),
                nn.Sequential(
                    SparseSeparableAtrous(three, other, 2), _merging(other, merged), nn.MaxPool3d(2)
                ),
            )
        )
        # What comes out of the last max pooling is merged last.
        self.lit = slice(four + 2 * merged, four + 3 * merged)

    def maps(self, hu: Tensor) -> Tensor:
        maps = self.stem(scaled(hu))
        crossed = []
        for module, pool, cross in zip(self.residual[:3], self.pools, self.cross, strict=True):
            maps = module(maps)
            crossed.append(cross(maps))
            maps = pool(maps)
        return torch.cat([self.residual[3](maps), *crossed], 1)

    def sparsity(self) -> Tensor:
        """The L1 norm of the weights of the atrous convolutions, which training keeps small."""
        weights = [
            layer.weight
            for layer in self.cross.modules()
            if isinstance(layer, nn.Conv3d) and max(layer.dilation) > 1
        ]
        return torch.stack([weight.abs().sum() for weight in weights]).sum()


class ResNet(Network):
    """The paper's baseline: the same residual network without the sub-networks."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__(configuration.widths[3], configuration.head)
        one = configuration.widths[0]
        self.stem = nn.Sequential(
            nn.Conv3d(1, one, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
            nn.BatchNorm3d(one),
            nn.ReLU(),
        )
        parts: list[nn.Module] = []
        before = one
        for number, (after, blocks) in enumerate(zip(configuration.widths, BLOCKS, strict=True)):
            parts += [nn.MaxPool3d(2)] if number else []
            parts.append(residual_module(before, after, blocks))
            before = after
        self.trunk = nn.Sequential(*parts)
        self.lit = slice(0, configuration.widths[3])

    def maps(self, hu: Tensor) -> Tensor:
        maps: Tensor = self.trunk(self.stem(scaled(hu)))
        return maps
