"""The model: whether it is what was delivered, and answers here as it should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.imaging.isolation import SlicePool
from appliance.known_answers import (
    PROBABILITY_TOLERANCE,
    AnswersWrong,
    KnownAnswers,
    by_workers,
    expected_of,
)
from appliance.reading import rules_for
from appliance.state_disk import StateDisk
from engines.bundle import ModelFile, embedded_models
from engines.protocol import Engine, EngineError
from tools.doctor.check import Check, failed, judged, not_done

KNOWN_ANSWERS: Final = "Known answers on this device"
_SHIPS: Final = "that of a model that ships"
_LIMIT: Final = (
    f"grid the same to the voxel, probability within {PROBABILITY_TOLERANCE:g}, heatmap in its place"
)


def hashes(model: ModelFile) -> Iterator[Check]:
    """Of a model that was loaded, which checks each of them."""
    digest = f"SHA-256 {model.digest[:16]}…"
    if model.bundle is not None:
        parity = model.bundle.info.parity
        measured = f"manifest {model.bundle.digest[:16]}…, model {digest}"
        yield judged("Hashes of the bundle", True, measured, "each file as in the manifest", "")
        yield judged(
            "FP16 when it was built",
            parity.trained,
            f"|Δ probability| up to {parity.largest_delta:.4f} over {parity.volumes} volumes, {parity.near}"
            " of them near the operating point",
            "the gate of scanlight build-engine, passed by trained weights",
            "build the bundle of a trained model with scanlight build-engine",
        )
    elif expected_of(model.digest) is not None:
        yield judged("Hash of the model", True, digest, _SHIPS, "")
    elif model.path in embedded_models():
        remedy = "do not use it: the file was changed, so install Scanlight again"
        yield failed("Hash of the model", digest, _SHIPS, remedy)
    else:
        yield not_done(
            "Hash of the model",
            f"{digest}: nothing beside the file says what it should be",
            "as its maker states it",
            "compare it by hand, or build a bundle with scanlight build-engine",
        )


def known_answers(model: ModelFile, engine: Engine, kept: Path, pool: SlicePool) -> Check:
    """The known answers through the workers and the engine; `kept` is the daemon's folder of them."""

    rules = rules_for(model.spec)
    try:
        answers = KnownAnswers(engine, rules, by_workers(pool), kept, StateDisk(), model.known_answers)
        found, compared = answers.check(), answers.expected()
    except (AnswersWrong, EngineError) as error:
        return failed(
            KNOWN_ANSWERS,
            str(error),
            _LIMIT,
            "do not use it: have the device and its driver looked at, and install again",
        )
    measured = ", ".join(f"{name} {answer.probability:.4f}" for name, answer in found.items())
    if not compared:
        return not_done(
            KNOWN_ANSWERS,
            f"{measured}: nothing was expected of this model",
            _LIMIT,
            "start the service once, which keeps what the model answers, or use a bundle",
        )
    return judged(KNOWN_ANSWERS, True, measured, _LIMIT, "")
