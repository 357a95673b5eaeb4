"""What is learnt, in which order: whole volumes, as in the paper, or crops first.

A course gives the loss of each of its steps. What it draws depends on its seed and the number of the step
alone, so that it can be left and taken up again anywhere.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from tools.dataset.volumes import Made
from tools.network.csacnet import ResNet
from tools.train.augment import augmented
from tools.train.crops import Cropper
from tools.train.recipe import CROP_STEPS, HEAD_STEPS, SPARSITY, Method, Recipe

CELL: Final = (8, 16, 16)
"""Voxels of a volume to a cell of the network's maps."""

TOGETHER: Final = 4

LEAST_SHARE: Final = 0.005
"""A cell with as much lesion shows one; with less it neither shows one nor none."""

HEAD_RATE: Final = 1e-3
HEAD_BATCH: Final = 64
DECAY: Final = 1e-2
"""Of the head's fit."""


class Course(ABC):
    """`steps` in all, judged after every `epoch` steps. `learners` are its weights besides the network's."""

    name: str
    steps: int
    epoch: int
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler | None = None

    def __init__(self, network: ResNet, cases: Sequence[Made], recipe: Recipe) -> None:
        """Raises WrongInput where the cases lack what it teaches by."""
        self.network = network
        self.learners: nn.Module = nn.Module()
        self._cases = cases
        self._seed = recipe.seed

    def _drawn(self, what: str, number: int) -> np.random.Generator:
        """What is drawn for one purpose, whatever was drawn for others."""
        digest = hashlib.sha256(repr((self._seed, self.name, what, number)).encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, np.uint32))

    @abstractmethod
    def begin(self) -> None:
        """Before its first step, also after it was left."""

    @abstractmethod
    def loss(self, step: int) -> Tensor: ...

    def end(self) -> None:  # noqa: B027 - most have nothing to do
        """After its last step."""

    def state(self) -> dict[str, Any]:
        return {
            "learners": self.learners.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.learners.load_state_dict(state["learners"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])


def stacked(cases: Sequence[Made], device: torch.device) -> Tensor:
    """Their volumes [n, 1, D, H, W] in HU, float32."""
    hu = torch.from_numpy(np.stack([one.hu() for one in cases])).to(device).float()[:, None]
    return hu.contiguous(memory_format=torch.channels_last_3d)


def stacks(cases: Sequence[Made], network: nn.Module) -> Iterator[Tensor]:
    """All of them in their order, some at a time: for one alone PyTorch takes a slower way."""
    for start in range(0, len(cases), TOGETHER):
        yield stacked(cases[start:][:TOGETHER], _device(network))


def _labels(cases: Sequence[Made], device: torch.device) -> Tensor:
    return torch.tensor([[float(one.case.label)] for one in cases], device=device)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


class Volumes(Course):
    """The paper's: whole volumes, augmented, all of them once an epoch."""

    name = "volumes"

    def __init__(self, network: ResNet, cases: Sequence[Made], recipe: Recipe) -> None:
        super().__init__(network, cases, recipe)
        self._batch = recipe.batch
        self.epoch = ceil(len(cases) / recipe.batch)
        self.steps = recipe.epochs * self.epoch
        self.optimizer = torch.optim.Adam(network.parameters(), recipe.rate)

    def begin(self) -> None:
        self.network.train()

    def loss(self, step: int) -> Tensor:
        epoch, place = divmod(step, self.epoch)
        order = self._drawn("order", epoch).permutation(len(self._cases))
        chosen = [self._cases[index] for index in order[place * self._batch :][: self._batch]]
        device = _device(self.network)
        hu = augmented(stacked(chosen, device), self._drawn("change", step))
        found = functional.binary_cross_entropy_with_logits(self.network(hu), _labels(chosen, device))
        return found + SPARSITY * self.network.sparsity()


class Crops(Course):
    """Crops on lesions and on lung. Beside the crop's label the network learns to mark, on its maps, lesions
    that are to be flagged and lesions of any kind; what marks them is not part of the network."""

    name = "crops"

    def __init__(self, network: ResNet, cases: Sequence[Made], recipe: Recipe) -> None:
        super().__init__(network, cases, recipe)
        self._cropper = Cropper(cases)
        self._batch = recipe.batch
        self.epoch = CROP_STEPS
        self.steps = recipe.epochs * CROP_STEPS
        self.learners = nn.Conv3d(network.head.first.in_features, 2, 1).to(_device(network))
        learning = [*network.parameters(), *self.learners.parameters()]
        self.optimizer = torch.optim.AdamW(learning, recipe.rate)
        self.schedule = OneCycleLR(self.optimizer, recipe.rate, total_steps=self.steps)

    def begin(self) -> None:
        self.network.train()

    def loss(self, step: int) -> Tensor:
        crops = self._cropper.draw(self._drawn("crops", step), self._batch)
        device = _device(self.network)
        hu = torch.from_numpy(crops.hu).to(device).contiguous(memory_format=torch.channels_last_3d)
        share = functional.avg_pool3d(torch.from_numpy(crops.lesions).to(device), CELL)
        positive = torch.from_numpy(crops.positive).to(device)[:, None, None, None, None]
        lesion = share >= LEAST_SHARE
        sure = (lesion | (share == 0)).float()
        maps = self.network.maps(hu)
        marks = self.learners(maps)
        wanted = torch.cat([lesion & positive, lesion], 1).float()
        marked = functional.binary_cross_entropy_with_logits(marks, wanted, reduction="none")
        to_flag = (lesion & positive).flatten(1).any(1, keepdim=True).float()
        said = self.network.head(maps.mean((2, 3, 4)))
        return (
            functional.binary_cross_entropy_with_logits(said, to_flag)
            + (marked * sure).sum() / sure.sum()
            + SPARSITY * self.network.sparsity()
        )


class Head(Course):
    """The fully connected layers anew, on the averaged maps of whole volumes."""

    name = "head"
    epoch = steps = HEAD_STEPS

    def __init__(self, network: ResNet, cases: Sequence[Made], recipe: Recipe) -> None:
        super().__init__(network, cases, recipe)
        self._averages = self._wanted = self._mean = self._scale = torch.empty(0)
        self.optimizer = torch.optim.AdamW(network.head.parameters(), HEAD_RATE, weight_decay=DECAY)
        self.schedule = OneCycleLR(self.optimizer, HEAD_RATE, total_steps=self.steps)
        self._fresh = True

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self._fresh = False

    def begin(self) -> None:
        device = _device(self.network)
        self.network.eval()
        with torch.no_grad():
            self._averages = torch.cat(
                [self.network.maps(hu).mean((2, 3, 4)) for hu in stacks(self._cases, self.network)]
            )
        self._wanted = _labels(self._cases, device)
        self._mean = self._averages.mean(0)
        self._scale = self._averages.std(0) + 1e-6
        if self._fresh:
            torch.manual_seed(self._seed)
            for layer in (self.network.head.first, self.network.head.second, self.network.head.last):
                layer.reset_parameters()

    def loss(self, step: int) -> Tensor:
        count = len(self._cases)
        drawn = self._drawn("order", step).choice(count, min(HEAD_BATCH, count), replace=False)
        chosen = torch.from_numpy(drawn).to(self._averages.device)
        scaled = (self._averages[chosen] - self._mean) / self._scale
        return functional.binary_cross_entropy_with_logits(self.network.head(scaled), self._wanted[chosen])

    @torch.no_grad()
    def end(self) -> None:
        first = self.network.head.first
        first.weight /= self._scale
        first.bias.sub_(first.weight @ self._mean)


COURSES: Final[Mapping[Method, tuple[type[Course], ...]]] = {
    "paper": (Volumes,),
    "curriculum": (Crops, Head),
}
"""In their order."""
