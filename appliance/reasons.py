"""The closed list of outcomes and reasons. `docs/inputs.md` has a row for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a series ends. There is no word for "without disease": NOT_FLAGGED is the absence of a flag."""

    FLAGGED = "flagged"
    NOT_FLAGGED = "not_flagged"
    SKIPPED = "skipped"
    NOT_ANALYSED = "not_analysed"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a series ended without a score. The value is the code that records and metrics carry."""

    LOCALIZER = "localizer"
    NOT_CT = "not_ct"
    NO_PIXELS = "no_pixels"
    DERIVED = "derived"
    NOT_AXIAL = "not_axial"
    NO_LUNG = "no_lung"
    CONTRAST = "contrast"
    TOO_THICK = "too_thick"
    TOO_FEW_SLICES = "too_few_slices"
    BEFORE_INSTALLATION = "before_installation"

    MISSING_SLICE = "missing_slice"
    UNEVEN_SPACING = "uneven_spacing"
    MIXED_ORIENTATION = "mixed_orientation"
    MIXED_SIZE = "mixed_size"
    MIXED_PATIENT = "mixed_patient"
    DUPLICATE_POSITION = "duplicate_position"
    MORE_THAN_ONE_STACK = "more_than_one_stack"
    GANTRY_TILT = "gantry_tilt"
    MISSING_RESCALE = "missing_rescale"
    UNSUPPORTED_SYNTAX = "unsupported_syntax"
    DAMAGED_PIXELS = "damaged_pixels"
    EXCEEDS_GRID = "exceeds_grid"
    INCOMPLETE_LUNG = "incomplete_lung"
    OUTSIDE_INTENDED_USE = "outside_intended_use"

    UNREADABLE = "unreadable"
    WORKER_CRASHED = "worker_crashed"
    WORKER_TIMEOUT = "worker_timeout"
    WORKER_MEMORY = "worker_memory"
    ENGINE_ERROR = "engine_error"
    FILES_GONE = "files_gone"
    CHANGED_WHILE_READING = "changed_while_reading"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a reason means: its default outcome, its sentence, what people can do about it (nothing about what
    is skipped), and whether a site may move it in YAML."""

    outcome: Outcome
    sentence: str
    remedy: str = ""
    movable: bool = False


_SKIPPED, _NOT_ANALYSED, _FAILED = Outcome.SKIPPED, Outcome.NOT_ANALYSED, Outcome.FAILED

RULES: dict[Reason, Rule] = {
    Reason.LOCALIZER: Rule(_SKIPPED, "a localizer (scout), not a volume"),
    Reason.NOT_CT: Rule(_SKIPPED, "not a CT image"),
    Reason.NO_PIXELS: Rule(_SKIPPED, "an object without pixels"),
    Reason.DERIVED: Rule(_SKIPPED, "derived from other images: a reformat, secondary capture or dose sheet"),
    Reason.NOT_AXIAL: Rule(_SKIPPED, "not axial"),
    Reason.NO_LUNG: Rule(_SKIPPED, "too little lung in the pixels"),
    Reason.CONTRAST: Rule(_SKIPPED, "taken with contrast medium", movable=True),
    Reason.TOO_THICK: Rule(_SKIPPED, "slices thicker or further apart than 5 mm", movable=True),
    Reason.TOO_FEW_SLICES: Rule(_SKIPPED, "too few slices for a chest", movable=True),
    Reason.BEFORE_INSTALLATION: Rule(_SKIPPED, "already in the folder before Scanlight was installed"),
    Reason.MISSING_SLICE: Rule(
        _NOT_ANALYSED, "a slice is missing inside the series", "export the series again"
    ),
    Reason.UNEVEN_SPACING: Rule(
        _NOT_ANALYSED, "the distances between slices differ", "reconstruct it with even spacing"
    ),
    Reason.MIXED_ORIENTATION: Rule(
        _NOT_ANALYSED, "the slices have different orientations", "export one orientation a series"
    ),
    Reason.MIXED_SIZE: Rule(
        _NOT_ANALYSED, "the slices differ in matrix size or pixel spacing", "export them as two series"
    ),
    Reason.MIXED_PATIENT: Rule(
        _NOT_ANALYSED,
        "the slices carry more than one patient or study",
        "tell IT that the exporter mixes studies",
    ),
    Reason.DUPLICATE_POSITION: Rule(
        _NOT_ANALYSED,
        "two different slices at one position, or under one SOP Instance UID",
        "export the series again",
    ),
    Reason.MORE_THAN_ONE_STACK: Rule(
        _NOT_ANALYSED,
        "the series holds more than one volume",
        "export each acquisition as a series of its own",
    ),
    Reason.GANTRY_TILT: Rule(
        _NOT_ANALYSED,
        "the gantry was tilted, so that the slices are sheared",
        "reconstruct it without tilt",
        movable=True,
    ),
    Reason.MISSING_RESCALE: Rule(
        _NOT_ANALYSED, "no rescale slope and intercept, so no Hounsfield units", "export the original images"
    ),
    Reason.UNSUPPORTED_SYNTAX: Rule(
        _NOT_ANALYSED,
        "a transfer syntax or pixel format that cannot be decoded",
        "have IT set the export to Explicit VR or JPEG Lossless",
    ),
    Reason.DAMAGED_PIXELS: Rule(
        _NOT_ANALYSED, "the pixel data is truncated or damaged", "export the series again"
    ),
    Reason.EXCEEDS_GRID: Rule(
        _NOT_ANALYSED, "the lungs are larger than the model's grid", "there is nothing to export again"
    ),
    Reason.INCOMPLETE_LUNG: Rule(
        _NOT_ANALYSED,
        "the lung is cut off at an end of the series",
        "export the rest of it, where there is more",
        movable=True,
    ),
    Reason.OUTSIDE_INTENDED_USE: Rule(
        _NOT_ANALYSED,
        "outside of what the model is meant for",
        "there is nothing to export again",
        movable=True,
    ),
    Reason.UNREADABLE: Rule(_FAILED, "the file cannot be read as DICOM", "export it again"),
    Reason.WORKER_CRASHED: Rule(
        _FAILED,
        "reading the file crashed the worker process",
        "it is tried again by itself; if that does not help, export it again",
    ),
    Reason.WORKER_TIMEOUT: Rule(
        _FAILED,
        "reading the file took too long",
        "it is tried again by itself; if that does not help, export it again",
    ),
    Reason.WORKER_MEMORY: Rule(
        _FAILED,
        "reading the file took too much memory",
        "it is tried again by itself; if that does not help, export it again",
    ),
    Reason.ENGINE_ERROR: Rule(
        _FAILED,
        "the engine failed on this volume",
        "it is tried again by itself; if that does not help, tell IT",
    ),
    Reason.FILES_GONE: Rule(_FAILED, "files vanished before they were read", "export the series again"),
    Reason.CHANGED_WHILE_READING: Rule(
        _FAILED, "a file changed while it was read", "read it again when it is whole"
    ),
    Reason.INTERNAL_ERROR: Rule(_FAILED, "an error inside Scanlight", "tell IT"),
}

MOVABLE = frozenset(reason for reason, rule in RULES.items() if rule.movable)


def outcome_of(reason: Reason, moved: Mapping[Reason, Outcome] | None = None) -> Outcome:
    """The outcome that a reason leads to, after the site's own choices for the movable ones."""
    return (moved or {}).get(reason, RULES[reason].outcome)
