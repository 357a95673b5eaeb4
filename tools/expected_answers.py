"""Writes what each model that ships answers to the known answers: `python -m tools.expected_answers`.

Run it when one of them, the known-answer series or the imaging version changed on purpose.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from appliance.imaging import IMAGING_VERSION
from appliance.imaging.slices import read_slices
from appliance.known_answers import SERIES, Answer, KnownAnswers
from appliance.reading import rules_for
from appliance.state_disk import StateDisk
from engines.bundle import embedded_models, load_model
from engines.protocol import Engine
from engines.runner import open_engine


def expected(model: Path) -> dict[str, object]:
    """The content of a model's file."""
    engine = open_engine(load_model(model), "cpu")
    return {
        "model": engine.digest,
        "imaging_version": IMAGING_VERSION,
        "answers": {name: asdict(answer) for name, answer in answers(engine).items()},
    }


def answers(engine: Engine) -> dict[str, Answer]:
    """What an engine answers to the known answers. Digests are left to each machine: the last bits of a mean
    may differ. Raises AnswersWrong where one cannot be read on the model's grid, and EngineError."""
    found = KnownAnswers(engine, rules_for(engine.spec), read_slices, Path(), StateDisk()).compute()
    return {name: _rounded(answer) for name, answer in found.items()}


def _rounded(answer: Answer) -> Answer:
    place = None
    if answer.centroid_mm is not None:
        x, y, z = answer.centroid_mm
        place = (round(x, 1), round(y, 1), round(z, 1))
    return replace(
        answer,
        mean_hu=round(answer.mean_hu, 2),
        probability=round(answer.probability, 4),
        centroid_mm=place,
        grid_sha256=None,
    )


def main() -> None:
    for model in embedded_models():
        (SERIES / f"{model.stem}.json").write_text(json.dumps(expected(model), indent=1) + "\n")


if __name__ == "__main__":
    main()
