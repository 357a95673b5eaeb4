"""What the completeness bench exports, and when: every pattern with every series, overlapping in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tools.bench.completeness_arrivals import Pattern, Step, Tempo
from tools.bench.series import real_chests
from tools.phantom import Chest, Export, Kind, make_chest, write_series
from tools.replay.restamp import Original, fresh_uid
from tools.scanner import plan

KINDS: Final[tuple[Kind, ...]] = ("covid", "clear")
SEED: Final = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """How a run is set: `phantom_mm` and `matrix` of the phantoms, `spacing_s` from one export's begin to the
    next, `rescan_s` the daemons' own."""

    tempo: Tempo
    phantom_mm: float
    matrix: int
    spacing_s: float
    rescan_s: float
    real: bool


DEFAULTS: Final = Setting(Tempo(1 / 30, 1.5, 30.0), 2.5, 256, 3.0, 10.0, real=True)
FAST: Final = Setting(Tempo(1 / 60, 0.5, 5.0), 5.0, 128, 0.5, 0.5, real=False)


@dataclass(frozen=True, slots=True)
class Source:
    """A series that is exported again and again, under fresh UIDs each time; its files in order."""

    name: str
    uid: str
    files: tuple[Original, ...]

    @classmethod
    def below(cls, folder: Path) -> Source:
        (series,) = plan(folder)
        return cls(folder.name, series.series_uid, tuple(map(Original.of, series.files)))


@dataclass(frozen=True, slots=True)
class Run:
    """One series in one pattern, beginning at so many seconds."""

    pattern: Pattern
    source: Source
    at_s: float
    steps: Sequence[Step]

    @property
    def name(self) -> str:
        return f"{self.pattern.name}, {self.source.name}"

    @property
    def series_uid(self) -> str:
        return fresh_uid(self.source.uid.encode(), self.name).decode()

    def content(self, index: int) -> bytes:
        return self.source.files[index].stamped(partial(fresh_uid, salt=self.name))

    @property
    def slices(self) -> int:
        """How many come."""
        return len({step.index for step in self.steps})


def make_sources(folder: Path, setting: Setting) -> list[Source]:
    """Phantoms with and without disease, and the real chests at hand."""
    for kind in KINDS:
        chest = Chest(kind, SEED, slice_mm=setting.phantom_mm, matrix=setting.matrix)
        write_series(make_chest(chest), folder / f"{kind} phantom", Export())
    folders = [folder / f"{kind} phantom" for kind in KINDS]
    return [Source.below(one) for one in (*folders, *(real_chests() if setting.real else ()))]


def overlapping_runs(patterns: Sequence[Pattern], sources: Sequence[Source], setting: Setting) -> list[Run]:
    """The longest first, each a little after the one before."""
    runs = []
    at_s = 0.0
    steps = {
        (pattern.name, source.name): pattern.script(len(source.files), setting.tempo)
        for pattern in patterns
        for source in sources
    }
    for pattern in sorted(patterns, key=lambda one: -steps[one.name, sources[0].name][-1].at_s):
        for source in sources:
            runs.append(Run(pattern, source, at_s, steps[pattern.name, source.name]))
            at_s += 0 if pattern.together else setting.spacing_s
        at_s += setting.spacing_s if pattern.together else 0
    return runs
