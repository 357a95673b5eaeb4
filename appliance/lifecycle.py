"""The life of a series: a pure state machine. State and event in, state and action out.

    RECEIVING --complete--> READING --flag------------------------------> ENDED
        ^                      | no flag
        |                      v
        +--- a slice ---- PROVISIONAL --sentinel or count----------------> ENDED
        |                      | the ceiling
        |                      v
        +--- a change -- CONFIRMING --the files are still the same-------> ENDED
        +--- a late slice ------------------------------------------------ ENDED

Completeness is asymmetric. A flag is told at once; anything else waits for evidence or until the ceiling, and
until nothing is left to be read, so that half a chest never counts as one without a flag. A slice that comes
while a reading runs makes the reading worthless, and it is repeated. One that comes after the evidence shows
that this was none. Times are seconds on the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from appliance.intake.completeness import MAX_GAPS, CompletedBy, Pace, quiet_s


class Phase(Enum):
    RECEIVING = auto()
    READING = auto()
    PROVISIONAL = auto()
    CONFIRMING = auto()
    ENDED = auto()


class Action(Enum):
    """What the daemon does next: read the series, record what was read, or throw the reading away."""

    READ = auto()
    CONFIRM = auto()
    """See whether the files are still those that were read; then the reading comes back as it is."""
    RECORD = auto()
    DISCARD = auto()
    REOPEN = auto()
    """A late slice: the files that were read before are read again, for a new revision."""


@dataclass(frozen=True, slots=True)
class SliceArrived:
    """A slice was read; `seen_at` is when this process first saw its file."""

    seen_at: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """The exporter or the headers say that the series is complete with the slices so far."""

    by: CompletedBy


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed. `blocked`: files that may belong to the series are not read yet, or nobody looked."""

    now: float
    blocked: bool


@dataclass(frozen=True, slots=True)
class ReadingDone:
    """The reading came back; only a flag may be told at once."""

    flagged: bool


@dataclass(frozen=True, slots=True)
class ReadingLost:
    """The reading failed and is to be tried again."""


@dataclass(frozen=True, slots=True)
class ReadingDoubted:
    """Who made the reading cannot be trusted: what is not told yet is read again."""


RUNNING = (Phase.READING, Phase.CONFIRMING)

Event = SliceArrived | Evidence | Tick | ReadingDone | ReadingLost | ReadingDoubted


@dataclass(frozen=True, slots=True)
class Life:
    """`stale` means that a slice came while the reading ran, or was confirmed."""

    phase: Phase
    last_slice: float
    gaps: tuple[float, ...] = ()
    evidence: CompletedBy | None = None
    stale: bool = False

    @classmethod
    def begin(cls, seen_at: float) -> Life:
        return cls(Phase.RECEIVING, seen_at)

    @property
    def completed_by(self) -> CompletedBy:
        return self.evidence or CompletedBy.QUIET


def advance(life: Life, event: Event, pace: Pace) -> tuple[Life, Action | None]:
    """The next state, and what to do."""
    match event:
        case SliceArrived(seen_at):
            return _slice_arrived(life, seen_at)
        case Evidence(by):
            return replace(life, evidence=life.evidence or by), None
        case Tick(now, blocked):
            return (life, None) if blocked else _tick(life, now, pace)
        case ReadingDone(flagged):
            return _reading_done(life, flagged)
        case ReadingLost():
            return _discarded(life) if life.phase in RUNNING else (life, None)
        case ReadingDoubted():
            return _reading_doubted(life)


def next_tick(life: Life, pace: Pace) -> float | None:
    """When time alone will change something, if no slice comes first."""
    match life.phase:
        case Phase.RECEIVING:
            return life.last_slice + (0 if life.evidence else quiet_s(life.gaps, pace))
        case Phase.PROVISIONAL:
            return life.last_slice + (0 if life.evidence else pace.ceiling_s)
        case _:
            return None


def _slice_arrived(life: Life, seen_at: float) -> tuple[Life, Action | None]:
    if life.phase is Phase.ENDED:
        return Life.begin(seen_at), Action.REOPEN
    gaps = (*life.gaps, abs(seen_at - life.last_slice))[-MAX_GAPS:]
    life = replace(life, last_slice=max(seen_at, life.last_slice), gaps=gaps, evidence=None)
    match life.phase:
        case Phase.READING | Phase.CONFIRMING:
            return replace(life, stale=True), None
        case Phase.PROVISIONAL:
            return _discarded(life)
        case _:
            return life, None


def _tick(life: Life, now: float, pace: Pace) -> tuple[Life, Action | None]:
    due = next_tick(life, pace)
    if due is None or now < due:
        return life, None
    if life.phase is Phase.RECEIVING:
        return replace(life, phase=Phase.READING, stale=False), Action.READ
    if life.evidence is None:
        return replace(life, phase=Phase.CONFIRMING, stale=False), Action.CONFIRM
    return replace(life, phase=Phase.ENDED), Action.RECORD


def _reading_done(life: Life, flagged: bool) -> tuple[Life, Action | None]:
    if life.phase not in RUNNING:
        return life, None
    if life.stale:
        return _discarded(life)
    if flagged or life.phase is Phase.CONFIRMING:
        return replace(life, phase=Phase.ENDED), Action.RECORD
    return replace(life, phase=Phase.PROVISIONAL), None


def _reading_doubted(life: Life) -> tuple[Life, Action | None]:
    match life.phase:
        case Phase.PROVISIONAL:
            return _discarded(life)
        case Phase.CONFIRMING:
            return replace(life, stale=True), None
        case _:
            return life, None


def _discarded(life: Life) -> tuple[Life, Action | None]:
    """The reading is worth nothing; the series is read again when it is complete."""
    return replace(life, phase=Phase.RECEIVING, stale=False), Action.DISCARD
