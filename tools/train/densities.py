"""Trains a classifier on lung density in place of a network. No PyTorch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance import durable
from engines.spec import Grid
from tools.baselines.classical import Classifier, fit, measured
from tools.dataset.volumes import Made
from tools.problem import WrongInput
from tools.train.parts import Parts
from tools.train.result import judged


def train_on_densities(
    kind: Classifier,
    parts: Parts,
    grid: Grid,
    seed: int,
    sensitivity: float | None,
    out: Path,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """What it reached; its scores go to the output folder. Raises WrongInput and OSError."""
    if not parts.split.validate and not parts.split.test:
        raise WrongInput(
            "This network writes scores alone, and no series is left to score: raise --validate or --test."
        )
    durable.make_folder(out)
    total = sum(len(cases) for cases in parts.named().values())
    done = 0

    def densities(cases: Sequence[Made]) -> list[Any]:
        nonlocal done
        found = []
        for one in cases:
            found.append(measured(one, grid))
            done += 1
            progress(done, total)
        return found

    train = parts.split.train
    predict = fit(kind, densities(train), [one.case.label for one in train], seed)
    return judged(parts, lambda cases: predict(densities(cases)), sensitivity, out)
