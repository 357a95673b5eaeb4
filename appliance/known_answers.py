"""Known answers: series whose reading is known, taken through the whole path from their files.

A probability alone cannot see a mirrored or reversed volume, so the model grid's digest and the place of the
heatmap are compared too. The series ship with the appliance (`scanlight phantom` wrote them); what is
expected of them belongs to a model: it ships with a model that is built in, comes with a bundle, or is
made once from a bare ONNX file and kept in the state folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from appliance.findings.objects import centroid_mm
from appliance.imaging import IMAGING_VERSION
from appliance.imaging.isolation import SlicePool, WorkerLost
from appliance.imaging.slices import ChangedMeanwhile, NotDicom, Unreadable
from appliance.reading import Rules, read_series
from appliance.records import Slice, SlicePlan
from appliance.state_disk import StateDisk
from engines.protocol import Engine

SERIES = Path(str(files("appliance"))) / "known_answers"

PROBABILITY_TOLERANCE = 0.01
"""As the FP16 parity gate's."""

MEAN_TOLERANCE_HU = 0.5
CENTROID_TOLERANCE_MM = 15.0
"""About a cell of a heatmap; a mirror moves the lesion by far more."""

ReadSlices = Callable[[Sequence[Path], SlicePlan], Sequence[Slice]]
"""Reads files to slices, in the workers as in production."""


class AnswersWrong(Exception):
    """A known answer came out differently; the message says which, what was expected and what was found."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The reading of one series: the model grid's mean (HU) and digest, the probability, and the centre of
    mass of the heatmap (LPS, mm) where there is one."""

    mean_hu: float
    probability: float
    centroid_mm: tuple[float, float, float] | None
    grid_sha256: str | None

    def differences(self, expected: Answer) -> list[str]:
        found = []
        if expected.grid_sha256 not in (None, self.grid_sha256):
            found.append("the volume is not the same, voxel for voxel")
        if abs(self.mean_hu - expected.mean_hu) > MEAN_TOLERANCE_HU:
            found.append(f"mean {self.mean_hu:.2f} HU, expected {expected.mean_hu:.2f}")
        if not abs(self.probability - expected.probability) <= PROBABILITY_TOLERANCE:
            found.append(f"probability {self.probability:.4f}, expected {expected.probability:.4f}")
        if (self.centroid_mm is None) != (expected.centroid_mm is None):
            found.append("a heatmap where none was expected, or none where one was")
        elif self.centroid_mm is not None and expected.centroid_mm is not None:
            distance = math.dist(self.centroid_mm, expected.centroid_mm)
            if distance > CENTROID_TOLERANCE_MM:
                found.append(f"the heatmap is {distance:.0f} mm from where it should be")
        return found


def by_workers(pool: SlicePool) -> ReadSlices:
    """Reads as in production; raises AnswersWrong for what cannot be read."""

    def read_slices(paths: Sequence[Path], plan: SlicePlan) -> list[Slice]:
        try:
            return [future.result() for future in [pool.submit(path, plan) for path in paths]]
        except (OSError, NotDicom, Unreadable, ChangedMeanwhile, WorkerLost) as error:
            raise AnswersWrong(f"A known answer cannot be read: {type(error).__name__}.") from error

    return read_slices


class KnownAnswers:
    """The known answers of one engine. `check` is called by the engine thread, between volumes."""

    def __init__(
        self,
        engine: Engine,
        rules: Rules,
        read_slices: ReadSlices,
        kept: Path,
        disk: StateDisk,
        came: bytes | None = None,
    ) -> None:
        """`kept` is the folder in which answers that did not ship are kept, `came` what a bundle brought."""
        self._came = came
        self._engine = engine
        self._rules = rules
        self._read_slices = read_slices
        self._disk = disk
        self._kept = kept / f"{engine.digest}-imaging{IMAGING_VERSION}.json"

    def check(self) -> dict[str, Answer]:
        """Read every series and compare; raises AnswersWrong, or EngineError where the engine fails."""
        expectations = self._expectations()
        found = self.compute()
        wrong = {
            f"{name}: {difference}": None
            for expected in expectations
            for name, answer in expected.items()
            for difference in (found[name].differences(answer) if name in found else ["is missing"])
        }
        if wrong:
            raise AnswersWrong(
                f"Known answers differ, so readings cannot be trusted: {'; '.join(wrong)}; check the"
                " installation with scanlight --version, and the device."
            )
        return found

    def expected(self) -> int:
        """How many answers `check` compares: none of a bare file until some are kept. Raises AnswersWrong."""
        return len({name for expected in self._expectations() for name in expected})

    def _expectations(self) -> list[dict[str, Answer]]:
        known = (expected_of(self._engine.digest), _brought(self._came), _load(self._kept))
        return [one for one in known if one is not None]

    def keep(self, found: dict[str, Answer]) -> None:
        """The first time, what was not expected beforehand becomes the expectation."""
        if not self._kept.exists():
            self._disk.until_taken(lambda: self._kept.parent.mkdir(parents=True, exist_ok=True))
            self._disk.write(self._kept, render(found).encode())

    def compute(self) -> dict[str, Answer]:
        """What this engine answers now."""
        return {folder.name: self._answer(folder) for folder in series_folders()}

    def _answer(self, folder: Path) -> Answer:
        paths = sorted(folder.glob("*.dcm"))
        plan = SlicePlan.for_grid(self._engine.spec.grid)
        reading = read_series(self._read_slices(paths, plan), self._engine, self._rules)
        if reading.volume is None or reading.score is None:
            why = reading.problem.detail if reading.problem else ""
            raise AnswersWrong(f"The known answer {folder.name} was not read: {why}")
        hu = np.ascontiguousarray(reading.volume.hu, dtype="<f4")
        heatmap = reading.score.heatmap
        return Answer(
            mean_hu=float(hu.mean(dtype=np.float64)),
            probability=reading.score.probability,
            centroid_mm=None if heatmap is None else centroid_mm(heatmap, reading.volume),
            grid_sha256=hashlib.sha256(hu.data).hexdigest(),
        )


def series_folders() -> list[Path]:
    """The series that ship, each in a folder of its name."""
    return sorted(folder for folder in SERIES.iterdir() if folder.is_dir())


def expected_of(digest: str) -> dict[str, Answer] | None:
    """The expectation that ships for the model with this digest and the present imaging version."""
    for path in SERIES.glob("*.json"):
        content = json.loads(path.read_text())
        if content["model"] == digest and content["imaging_version"] == IMAGING_VERSION:
            return _answers(content["answers"])
    return None


def render(answers: dict[str, Answer]) -> str:
    return json.dumps({name: asdict(answer) for name, answer in answers.items()}, indent=1) + "\n"


def _load(path: Path) -> dict[str, Answer] | None:
    """Raises AnswersWrong for a file that is damaged or cannot be read."""
    try:
        return _answers(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AnswersWrong(
            f"The known answers that were kept in {path} cannot be read ({error.strerror}): look at the disk,"
            " and who may read there."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AnswersWrong(
            f"The known answers that were kept in {path} are damaged: look at the disk and delete the file,"
            " and they are made anew."
        ) from error


def _brought(text: bytes | None) -> dict[str, Answer] | None:
    """Raises AnswersWrong for what is no such text, or names no answer."""
    if text is None:
        return None
    try:
        answers = _answers(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AnswersWrong("The known answers of the bundle are damaged: build the bundle again.") from error
    if not answers:
        raise AnswersWrong("The bundle comes without a known answer: build the bundle again.")
    return answers


def _answers(content: dict[str, dict[str, object]]) -> dict[str, Answer]:
    answers = {}
    for name, values in content.items():
        centroid = values["centroid_mm"]
        place = tuple(centroid) if isinstance(centroid, list) else None
        answers[name] = Answer(**{**values, "centroid_mm": place})  # type: ignore[arg-type]
    return answers
