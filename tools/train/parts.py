"""The data of a training: which cases teach, choose and judge, and what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engines.spec import Accepted, Grid
from tools.dataset.cases import CENTRE, LABELS, PATIENT, Case, read_cases
from tools.dataset.splits import Split, check, split
from tools.dataset.volumes import Made, make_volumes
from tools.problem import WrongInput
from tools.sheet import Sheet, read_sheet


@dataclass(frozen=True, slots=True)
class Source:
    """Where cases come from: a folder with a table, and one that only judges. `labels` is `labels.csv` in the
    folder unless named; `positive` the group that is to be flagged, where there are no labels."""

    data: Path
    labels: Path | None
    positive: str | None
    held_out: Path | None
    validate: float
    test: float
    test_centre: str | None
    seed: int


@dataclass(frozen=True, slots=True)
class Parts:
    """`unread` are the cases without a volume, with what is wrong."""

    split: Split
    unread: tuple[Made, ...]

    @property
    def digest(self) -> str:
        """Of what decides the weights: each volume and mask that teaches or chooses, with its label."""
        digest = hashlib.sha256()
        for part in ("train", "validation"):
            for one in self.named()[part]:
                assert one.volume is not None
                digest.update(f"{part} {one.volume.stem} {one.case.label} {one.mask is not None}\n".encode())
        return digest.hexdigest()

    def named(self) -> dict[str, tuple[Made, ...]]:
        return {"train": self.split.train, "validation": self.split.validate, "test": self.split.test}

    def summary(self) -> dict[str, Any]:
        """Counts, for the checkpoint and the card."""
        return {
            "sha256": self.digest,
            "unread": len(self.unread),
            **{name: _counts(cases) for name, cases in self.named().items()},
        }


def _counts(cases: Sequence[Made]) -> dict[str, Any]:
    return {
        "series": len(cases),
        "positive": sum(one.case.label for one in cases),
        "patients": len({one.patient for one in cases}),
        "centres": sorted({one.case.centre for one in cases} - {""}),
    }


def gather(
    source: Source,
    grid: Grid,
    accepted: Accepted,
    cache: Path,
    processes: int,
    progress: Callable[[int, int], None],
) -> Parts:
    """Raises WrongInput, of which Leak is one, and OSError."""
    sheet = read_sheet(source.labels or source.data / LABELS)
    cases = read_cases(source.data, sheet, source.positive)
    # Before the volumes, which may take hours.
    _check_centre(source, sheet, cases)
    made = make_volumes(cases, grid, accepted, cache, processes, progress)
    read = [one for one in made if one.volume is not None]
    _check_centre(source, sheet, [one.case for one in read])
    parts = split(
        read, validate=source.validate, test=source.test, test_centre=source.test_centre, seed=source.seed
    )
    if source.held_out is not None:
        others = read_cases(source.held_out, read_sheet(source.held_out / LABELS), source.positive)
        held_out = make_volumes(others, grid, accepted, cache, processes, progress)
        made += held_out
        parts = replace(parts, test=parts.test + tuple(one for one in held_out if one.volume is not None))
        check(parts)
    if len({one.case.label for one in parts.train}) < 2:
        raise WrongInput(
            f"{source.data}: the {len(parts.train)} series that are left for training are all of one class:"
            " add series of the other class."
        )
    _check_shares(source, sheet, read, parts)
    return Parts(parts, tuple(one for one in made if one.volume is None))


def _check_centre(source: Source, sheet: Sheet, cases: Sequence[Case]) -> None:
    if source.test_centre is None:
        return
    sheet.needs(CENTRE, "--test-centre names one of its values")
    centres = {one.centre for one in cases}
    if source.test_centre not in centres:
        raise WrongInput(
            f"{sheet.path}: no series that can be read is of the centre '{source.test_centre}', only of"
            f" {', '.join(sorted(centres - {''})) or 'none'}: name one of these with --test-centre."
        )


def _check_shares(source: Source, sheet: Sheet, read: Sequence[Made], parts: Split) -> None:
    """Raises WrongInput where a share of so few patients is nobody."""
    drawn = [one for one in read if source.test_centre is None or one.case.centre != source.test_centre]
    positive = {one.patient for one in drawn if one.case.label}
    others = {one.patient for one in drawn} - positive
    for option, share, part in (
        ("--validate", source.validate, parts.validate),
        ("--test", source.test, parts.test),
    ):
        if share and not part:
            raise WrongInput(
                f"{sheet.path}: {option} {share:g} is nobody of {len(others)} patients without a positive"
                f" series and {len(positive)} with one: raise it, set it to 0, or add a column '{PATIENT}'"
                " where the files do not tell patients apart."
            )
