"""The oracle of fuzzing: one file on the way that a worker and the engine thread send it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from fuzz.seeds import SIZE, SPACING
from imaging.synthetic import chest, write_volume

from appliance.imaging.assess import Policy, assess
from appliance.imaging.slices import NotDicom, Unreadable, read_slice
from appliance.records import Assessment, Problem, Slice, SlicePlan
from engines.spec import Accepted, Grid

GRID = Grid(size=(8, 20, 20), spacing_mm=(20.0, 20.0, 20.0))
PLAN = SlicePlan.for_grid(GRID)
POLICY = Policy(Accepted())
SENTENCE = re.compile(r".{10,}: .{5,}\.", re.DOTALL)


class Target:
    """Reads files as a worker does, and judges each alone and among the good slices of a chest."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "fuzzed.dcm"
        good = write_volume(folder / "good", chest(24, SIZE), spacing=(5.0, *SPACING))
        self._good = [read_slice(path, PLAN) for path in good]
        assert assess(self._good, GRID, POLICY).volume is not None, "the good ones are"

    def read(self, data: bytes) -> str:
        """What became of the file; whatever is raised is a finding."""
        self._path.write_bytes(data)
        try:
            one = read_slice(self._path, PLAN)
        except NotDicom:
            return "not_dicom"
        except MemoryError:
            return "worker_memory"
        except Unreadable as unreadable:
            _check_sentence(unreadable.problem)
            return unreadable.problem.reason
        return self.judge(one)

    def judge(self, one: Slice) -> str:
        """What becomes of a series with this slice in its middle; the slice is judged alone, too."""
        if one.problem is not None:
            _check_sentence(one.problem)
        _check(assess([one], GRID, POLICY))
        judged = assess([*self._good[:12], one, *self._good[13:]], GRID, POLICY)
        _check(judged)
        return judged.problem.reason if judged.problem else "read"


def _check(assessment: Assessment) -> None:
    if assessment.problem is not None:
        _check_sentence(assessment.problem)
    else:
        assert assessment.volume is not None
        assert np.isfinite(assessment.volume.hu).all()
        assert assessment.volume.hu.min() >= -1024


def _check_sentence(problem: Problem) -> None:
    assert SENTENCE.fullmatch(problem.detail), problem
    assert "Nobody" not in problem.detail, "the patient is not named"
