"""What a run needs to go on, in one file that is whole or not there."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from appliance import durable
from tools.problem import WrongInput

FORMAT: Final = 1


@dataclass(slots=True)
class Progress:
    """Where training is: `step` steps of course number `course` are done; `sum` and `count` are of the losses
    since the network was last judged, `rows` the judgements, `best` the least validation loss with its
    weights, `idle` how many judgements ago it was."""

    course: int = 0
    step: int = 0
    sum: float = 0.0
    count: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: float = float("inf")
    best_weights: dict[str, Tensor] | None = None
    idle: int = 0
    stopped: bool = False
    course_state: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`about` is the recipe and the data, `card` what a person says of the model, `finding` what the finished
    network reached, if it is finished."""

    about: dict[str, Any]
    card: dict[str, Any]
    weights: dict[str, Tensor]
    progress: Progress
    finding: dict[str, Any] | None = None

    def write(self, path: Path) -> None:
        """Raises OSError."""
        content = io.BytesIO()
        fields = {name: getattr(self.progress, name) for name in Progress.__dataclass_fields__}
        torch.save(
            {
                "format": FORMAT,
                "about": self.about,
                "card": self.card,
                "weights": self.weights,
                "progress": fields,
                "finding": self.finding,
            },
            content,
        )
        durable.write(path, content.getvalue())


def read_checkpoint(path: Path) -> Checkpoint:
    """Nothing in the file is executed. Raises WrongInput."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        if found["format"] != FORMAT:
            raise WrongInput(f"{path} is of another version of Scanlight: train anew in another folder.")
        return Checkpoint(
            found["about"],
            found["card"],
            found["weights"],
            Progress(**found["progress"]),
            found["finding"],
        )
    except OSError as error:
        raise WrongInput(f"{path} cannot be read: {error.strerror}. Check its name.") from None
    except WrongInput:
        raise
    except Exception as error:  # whatever torch finds in a file that is none of its own
        raise WrongInput(
            f"{path} is no checkpoint of scanlight train ({type(error).__name__}): name another file."
        ) from None


def weights_sha256(network: nn.Module) -> str:
    """Of all weights and statistics, by their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
