"""One reading: from the slices of a series to a finding. The same function in the daemon and in `read`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from appliance import logs
from appliance.config import Config
from appliance.findings.identity import reading_key
from appliance.findings.record import SeriesRecord, printable
from appliance.imaging import IMAGING_VERSION
from appliance.imaging.assess import Policy, assess
from appliance.reasons import Outcome, Reason, outcome_of
from appliance.records import FileIdentity, Geometry, Header, Problem, Slice, Volume
from engines.protocol import Engine, EngineError, EngineIdentity, Score
from engines.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Rules:
    """What a site chose: the imaging policy, the operating point, and where movable reasons lead."""

    policy: Policy
    operating_point: float
    operating_point_reason: str = ""
    moved: Mapping[Reason, Outcome] = field(default_factory=dict)


class WrongModel(Exception):
    """The model needs another version of this software; the message says which."""


def rules_for(
    spec: ModelSpec,
    *,
    lung_min_ml: float = 500.0,
    axial_tolerance_deg: float = 20.0,
    operating_point: float | None = None,
    operating_point_reason: str = "",
    moved: Mapping[Reason, Outcome] | None = None,
) -> Rules:
    """The rules that a model's specification and a site's choices come to. Raises WrongModel."""
    if spec.imaging_version != IMAGING_VERSION:
        raise WrongModel(
            f"The model {spec.name} {spec.version} was made for imaging version {spec.imaging_version}, not"
            f" {IMAGING_VERSION} as here: install the Scanlight that fits, or a model made for this one."
        )
    return Rules(
        Policy(spec.accepted, lung_min_ml, axial_tolerance_deg),
        spec.operating_point if operating_point is None else operating_point,
        operating_point_reason,
        moved or {},
    )


def rules_of(config: Config, spec: ModelSpec) -> Rules:
    """What a site's configuration makes of a model's rules. Raises WrongModel."""
    own = config.operating_point
    return rules_for(
        spec,
        lung_min_ml=config.lung_min_ml,
        axial_tolerance_deg=config.axial_tolerance_deg,
        operating_point=own.value if own else None,
        operating_point_reason=own.reason if own else "",
        moved=config.reasons,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """How a series ended, and from what. `volume` is there where it was scored."""

    outcome: Outcome
    problem: Problem | None
    geometry: Geometry | None
    volume: Volume | None
    score: Score | None
    timings_ms: Mapping[str, float]


def read_series(slices: Sequence[Slice], engine: Engine, rules: Rules) -> Reading:
    """Assess the slices of one series and score them if they are a chest that the model is meant for.

    Raises EngineError where the engine failed, which says nothing about the series.
    """
    started = time.perf_counter()
    try:
        assessment = assess(slices, engine.spec.grid, rules.policy)
    except Exception as error:
        # What a header can hold knows no end: an oversight of ours must not cost a neighbour.
        logs.crash("assessing_failed", error)
        return failed(INTERNAL_ERROR, slices)
    timings = {
        "parse": sum(one.parse_ms for one in slices),
        "volume": (time.perf_counter() - started) * 1000,
    }
    if assessment.volume is None:
        assert assessment.problem is not None
        outcome = outcome_of(assessment.problem.reason, rules.moved)
        return Reading(outcome, assessment.problem, assessment.geometry, None, None, timings)
    started = time.perf_counter()
    score = engine.infer(assessment.volume.hu)
    timings["infer"] = (time.perf_counter() - started) * 1000
    problem = None
    outcome = Outcome.FLAGGED if score.probability >= rules.operating_point else Outcome.NOT_FLAGGED
    if outcome is Outcome.NOT_FLAGGED and assessment.unless_flagged is not None:
        problem = assessment.unless_flagged
        outcome = outcome_of(problem.reason, rules.moved)
    return Reading(outcome, problem, assessment.geometry, assessment.volume, score, timings)


INTERNAL_ERROR = Problem(
    Reason.INTERNAL_ERROR, "Reading the series failed inside Scanlight: report it, with the log."
)


def failed(problem: Problem, slices: Sequence[Slice] = ()) -> Reading:
    """The reading of a series that could not be read through a fault of ours."""
    timings = {"parse": sum(one.parse_ms for one in slices)}
    return Reading(outcome_of(problem.reason), problem, None, None, None, timings)


def engine_failed(error: EngineError) -> Problem:
    return Problem(Reason.ENGINE_ERROR, f"{error} The series is tried again by itself.")


@dataclass(frozen=True, slots=True)
class ModelInUse:
    """The model and what runs it; `engine` is None for what ends without having been near an engine."""

    spec: ModelSpec
    digest: str
    engine: EngineIdentity | None


def key_of(slices: Sequence[Slice], model_digest: str, rules: Rules, stack: int = 1) -> str:
    """The reading key of these slices (one or more) with this model and these rules."""
    first = _first(slices)
    return reading_key(
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        stack=stack,
        instances=[(one.header.sop_instance_uid, one.content_sha256) for one in slices],
        model_digest=model_digest,
        imaging_version=IMAGING_VERSION,
        operating_point=rules.operating_point,
    )


def record_of(reading: Reading, slices: Sequence[Slice], model: ModelInUse, rules: Rules) -> SeriesRecord:
    """The record of a series that was read: all that follows from its slices and the reading.

    What only the daemon knows (revision, times, heatmap object) it adds with `dataclasses.replace`. A failure
    is not the reading of these slices and has a key of its own, so that a later success is a new revision.
    """
    first = _first(slices)
    geometry, score, spec, engine = reading.geometry, reading.score, model.spec, model.engine
    key = key_of(slices, model.digest, rules)
    if reading.outcome is Outcome.FAILED and reading.problem is not None:
        key = _digest(key, reading.problem.reason)
    return SeriesRecord(
        series_uid=first.series_uid,
        study_uid=first.study_uid,
        outcome=reading.outcome,
        reason=reading.problem.reason if reading.problem else None,
        detail=printable(reading.problem.detail) if reading.problem else None,
        revision=1,
        reading_key=key,
        slices=geometry.slices if geometry else len(slices),
        spacing_mm=geometry.spacing_mm if geometry else None,
        size=geometry.size if geometry else None,
        orientation=geometry.orientation if geometry else None,
        transfer_syntax=first.transfer_syntax,
        hu_min=geometry.hu_min if geometry else None,
        hu_max=geometry.hu_max if geometry else None,
        hu_mean=geometry.hu_mean if geometry else None,
        hu_sha256=geometry.hu_sha256 if geometry else None,
        probability=score.probability if score else None,
        operating_point=rules.operating_point,
        notice=_notice(spec, rules),
        model={
            "name": spec.name,
            "version": spec.version,
            "digest": model.digest,
            "intended_use": spec.intended_use,
        },
        engine=None if engine is None else engine.told(),
        timings_ms={step: round(ms, 3) for step, ms in reading.timings_ms.items()},
    )


def unread_record(
    problem: Problem,
    *,
    series_uid: str | None = None,
    study_uid: str | None = None,
    path: str | None = None,
    identity: FileIdentity | None = None,
) -> SeriesRecord:
    """The record of a series whose slices were never read, or of a file that belongs to no series.

    `path` is as the reader of the record may see it; `identity` tells one state of the file from the next.
    """
    return SeriesRecord(
        series_uid=series_uid,
        study_uid=study_uid,
        path=None if path is None else printable(path),
        outcome=outcome_of(problem.reason),
        reason=problem.reason,
        detail=printable(problem.detail),
        revision=1,
        reading_key=_digest(series_uid or "", path or "", repr(identity), problem.reason),
    )


def _first(slices: Sequence[Slice]) -> Header:
    return min((one.header for one in slices), key=lambda header: header.sop_instance_uid)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _notice(spec: ModelSpec, rules: Rules) -> str | None:
    parts = [spec.notice] if spec.notice else []
    if rules.operating_point_reason:
        parts.append(f"operating point {rules.operating_point:g} set here: {rules.operating_point_reason}")
    return "; ".join(parts) or None
