"""One training, from a folder of series to a model: what is found in the output folder is gone on with."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from appliance import durable
from tools.network.csacnet import ResNet
from tools.problem import WrongInput
from tools.train.card import ModelCard
from tools.train.checkpoint import Checkpoint, Progress, read_checkpoint, weights_sha256
from tools.train.curves import write_curves
from tools.train.export import build, to_model
from tools.train.loop import Watchers, learn, logits
from tools.train.parts import Parts
from tools.train.recipe import Recipe
from tools.train.result import judged

CHECKPOINT: Final = "checkpoint.pt"
MODEL: Final = "model.onnx"


@dataclass(frozen=True, slots=True)
class Request:
    """`sensitivity` is what the operating point must reach on the validation set."""

    recipe: Recipe
    card: ModelCard
    out: Path
    sensitivity: float | None
    checkpoint_s: float
    gpu: bool


def train(request: Request, parts: Parts, tell: Callable[[str, int, int, Progress], None]) -> dict[str, Any]:
    """What the finished network reached; all of it is in the output folder.

    `tell` hears of each step of a course. Raises WrongInput and OSError.
    """
    durable.make_folder(request.out)
    durable.sweep(request.out)
    recipe = request.recipe
    _repeatable(recipe, request.gpu)
    about = {
        "recipe": asdict(recipe),
        "data": parts.summary(),
        "wanted_sensitivity": request.sensitivity,
        "software": {
            "scanlight": version("scanlight"),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    }
    torch.manual_seed(recipe.seed)
    network = build(recipe)
    progress = _taken_up(request.out / CHECKPOINT, about, network)
    network.to("cuda" if request.gpu else "cpu")
    # Three times as fast as channels first, on a processor.
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    keeper = _Keeper(request, about, network)
    watchers = Watchers(keeper.keep, keeper.due, tell)
    learn(network, recipe, parts.split.train, parts.split.validate, progress, watchers)
    finding = {
        "weights_sha256": weights_sha256(network),
        **judged(
            parts,
            lambda cases: torch.sigmoid(logits(network, cases).double()).numpy(),
            request.sensitivity,
            request.out,
        ),
    }
    finished = keeper.keep(progress, finding)
    durable.write(request.out / MODEL, to_model(finished))
    return finding


def _repeatable(recipe: Recipe, gpu: bool) -> None:
    torch.set_num_threads(recipe.threads)
    # A GPU has no repeatable 3D pooling.
    torch.use_deterministic_algorithms(not gpu)
    # What is read is always written before.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


class _Keeper:
    """Writes checkpoints and curves, once in a while."""

    def __init__(self, request: Request, about: dict[str, Any], network: ResNet) -> None:
        self._folder = request.out
        self._every_s = request.checkpoint_s
        self._card = request.card.model_dump(mode="json")
        self._about = about
        self._network = network
        self._kept_at = time.monotonic()
        self._drawn = -1

    def due(self) -> bool:
        return time.monotonic() - self._kept_at >= self._every_s

    def keep(self, progress: Progress, finding: dict[str, Any] | None = None) -> Checkpoint:
        checkpoint = Checkpoint(self._about, self._card, _weights(self._network), progress, finding)
        checkpoint.write(self._folder / CHECKPOINT)
        if len(progress.rows) != self._drawn:
            write_curves(self._folder, progress.rows)
            self._drawn = len(progress.rows)
        self._kept_at = time.monotonic()
        return checkpoint


def _weights(network: ResNet) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def _taken_up(path: Path, about: dict[str, Any], network: ResNet) -> Progress:
    """Where an earlier run of the same recipe on the same data was; its weights go into the network."""
    if not path.exists():
        return Progress()
    kept = read_checkpoint(path)
    differences = Recipe(**about["recipe"]).differences(kept.about["recipe"])
    if kept.about["data"]["sha256"] != about["data"]["sha256"]:
        differences.append("other data or another split")
    if differences:
        raise WrongInput(
            f"{path} is of another training ({'; '.join(differences)}): choose another --out, or delete it."
        )
    network.load_state_dict(kept.weights)
    return kept.progress
