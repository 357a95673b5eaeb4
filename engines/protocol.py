"""What every runner offers: a volume in, a score out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from engines.spec import ModelSpec

Float32 = npt.NDArray[np.float32]

EngineKind = Literal["auto", "cpu", "tensorrt"]
"""Which runner is wanted; see `engines.runner.open_engine`."""


class EngineError(Exception):
    """The engine could not give a score; the message is one sentence with what to do."""


class DeviceLost(Exception):
    """The GPU or its driver failed while it worked, and nothing in this process can use it any more."""


class BadOutput(EngineError):
    """The model gave a probability or heatmap that is not finite, or a probability outside [0, 1]."""


def first_line(error: BaseException) -> str:
    """What a library says, without the trace that some add."""
    return str(error).strip().partition("\n")[0]


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """`probability` in [0, 1]; `heatmap` float32 [d, h, w], non-negative, over the same field of view as the
    volume (its cells divide the grid evenly), or None; `timings_ms` by step."""

    probability: float
    heatmap: Float32 | None
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """Who computed: `runner` (onnxruntime, tensorrt), `flavour` with its version, `device` and its `driver`.

    `why` is a sentence where this is not the runner that was hoped for.
    """

    runner: str
    flavour: str
    device: str
    driver: str = ""
    why: str = ""

    def told(self) -> dict[str, str]:
        """What every finding says of it."""
        return {"runner": self.runner, "flavour": self.flavour, "device": self.device}


class Engine(Protocol):
    """Runs one model. Buffers are allocated once; one thread at a time."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def digest(self) -> str:
        """SHA-256 of the model file, computed when it was loaded."""
        ...

    @property
    def identity(self) -> EngineIdentity: ...

    def infer(self, volume: Float32) -> Score:
        """Score a float32 HU volume [D, H, W] on the specification's grid.

        Raises EngineError when the volume has another shape or is not finite, or the run fails, BadOutput
        when what comes out is not finite or outside [0, 1], and DeviceLost when only a new process can go on.
        """
        ...

    def close(self) -> None: ...
