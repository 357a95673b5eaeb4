"""How a network is trained, in numbers. No PyTorch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal

from tools.network.configuration import Size

Method = Literal["paper", "curriculum"]
Kind = Literal["csac-net", "resnet"]
Network = Literal[Kind, "logistic", "svm", "forest"]


@dataclass(frozen=True, slots=True)
class Pace:
    """An epoch of the paper's method is all volumes once, one of the curriculum's `CROP_STEPS` steps."""

    epochs: int
    batch: int
    rate: float


PACES: Final[Mapping[Method, Pace]] = {"paper": Pace(75, 10, 1e-3), "curriculum": Pace(5, 24, 2e-3)}
"""The paper's: Yao et al., European Radiology 2021. The curriculum's: docs/training.md."""

SPARSITY: Final = 1e-6
"""Weight of the L1 norm of the atrous convolutions in the loss."""

CROP: Final = (16, 48, 48)
CROP_STEPS: Final = 200
HEAD_STEPS: Final = 1500


@dataclass(frozen=True, slots=True)
class Recipe:
    """The same recipe on the same data gives the same weights, on a processor with as many threads.

    With `patience` training ends after so many epochs without a lower loss on the validation set, and the
    best weights are kept.
    """

    network: Kind
    size: Size
    method: Method
    epochs: int
    batch: int
    rate: float
    patience: int | None
    seed: int
    threads: int

    def differences(self, other: Mapping[str, object]) -> list[str]:
        """What another recipe, as a dictionary, has otherwise."""
        return [
            f"{name} {other.get(name)}, now {value}"
            for name, value in asdict(self).items()
            if other.get(name) != value
        ]
