import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.intake.completeness import CompletedBy, Pace
from appliance.lifecycle import (
    RUNNING,
    Action,
    Event,
    Evidence,
    Life,
    Phase,
    ReadingDone,
    ReadingDoubted,
    ReadingLost,
    SliceArrived,
    Tick,
    advance,
    next_tick,
)

PACE = Pace(floor_s=1.5, ceiling_s=30, k=4)


def play(*events: Event, life: Life | None = None) -> tuple[Life, list[Action]]:
    life = life or Life.begin(0.0)
    actions = []
    for event in events:
        life, action = advance(life, event, PACE)
        if action:
            actions.append(action)
    return life, actions


def test_a_flag_after_quiet_is_recorded_at_once() -> None:
    life, actions = play(SliceArrived(0.1), Tick(1.7, blocked=False), ReadingDone(flagged=True))
    assert actions == [Action.READ, Action.RECORD]
    assert life.phase is Phase.ENDED
    assert life.completed_by is CompletedBy.QUIET


def test_no_flag_after_quiet_is_provisional_until_the_ceiling() -> None:
    life, actions = play(SliceArrived(0.1), Tick(1.7, blocked=False), ReadingDone(flagged=False))
    assert actions == [Action.READ]
    assert life.phase is Phase.PROVISIONAL
    assert next_tick(life, PACE) == 0.1 + 30
    assert play(Tick(30.0, blocked=False), life=life)[1] == []
    life, actions = play(Tick(30.2, blocked=False), ReadingDone(flagged=False), life=life)
    assert actions == [Action.CONFIRM, Action.RECORD]
    assert life.phase is Phase.ENDED


@pytest.mark.parametrize("events", [(ReadingLost(),), (SliceArrived(30.3), ReadingDone(flagged=False))])
def test_a_change_after_the_ceiling_discards_a_reading_that_is_not_told_yet(events: tuple[Event]) -> None:
    life, actions = play(
        Tick(1.5, blocked=False), ReadingDone(flagged=False), Tick(30, blocked=False), *events
    )
    assert actions == [Action.READ, Action.CONFIRM, Action.DISCARD]
    assert life.phase is Phase.RECEIVING


@pytest.mark.parametrize("ticks", [(), (Tick(30, blocked=False),)])
def test_a_reading_that_is_doubted_before_it_is_told_is_made_again(ticks: tuple[Event, ...]) -> None:
    life, actions = play(
        Tick(1.5, blocked=False),
        ReadingDone(flagged=False),
        *ticks,
        ReadingDoubted(),
        ReadingDone(flagged=False),
        Tick(30, blocked=False),
    )
    assert actions[-2:] == [Action.DISCARD, Action.READ]
    assert life.phase is Phase.READING


def test_a_sentinel_ends_without_waiting_for_quiet_or_ceiling() -> None:
    life, actions = play(
        SliceArrived(0.1),
        Evidence(CompletedBy.SENTINEL),
        Tick(0.2, blocked=False),
        ReadingDone(flagged=False),
        Tick(0.3, blocked=False),
    )
    assert actions == [Action.READ, Action.RECORD]
    assert life.completed_by is CompletedBy.SENTINEL


def test_a_sentinel_while_half_a_chest_is_read_tells_no_finding_of_that_half() -> None:
    life, actions = play(
        Tick(1.5, blocked=False),
        Evidence(CompletedBy.SENTINEL),
        ReadingDone(flagged=False),
        Tick(1.7, blocked=True),
        SliceArrived(1.6),
        Evidence(CompletedBy.SENTINEL),
        Tick(1.8, blocked=False),
    )
    assert actions == [Action.READ, Action.DISCARD, Action.READ]
    assert life.phase is Phase.READING


def test_a_slice_after_the_evidence_shows_that_it_was_none() -> None:
    life, _ = play(SliceArrived(0.1), Evidence(CompletedBy.SENTINEL), SliceArrived(0.2))
    assert life.completed_by is CompletedBy.QUIET
    assert next_tick(life, PACE) == 0.2 + 1.5


def test_results_of_no_reading_change_nothing() -> None:
    ended, _ = play(Tick(1.5, blocked=False), ReadingDone(flagged=True))
    assert play(ReadingDone(flagged=True), ReadingLost(), life=ended) == (ended, [])


def test_a_sentinel_waits_for_the_files_before_it() -> None:
    _, actions = play(SliceArrived(0.1), Evidence(CompletedBy.SENTINEL), Tick(0.2, blocked=True))
    assert actions == []


def test_quiet_does_not_end_while_files_wait_to_be_read() -> None:
    life, actions = play(SliceArrived(0.1), Tick(50, blocked=True))
    assert (life.phase, actions) == (Phase.RECEIVING, [])


def test_a_slice_during_the_reading_makes_it_worthless_even_when_it_flags() -> None:
    life, actions = play(Tick(1.5, blocked=False), SliceArrived(1.6), ReadingDone(flagged=True))
    assert actions == [Action.READ, Action.DISCARD]
    assert life.phase is Phase.RECEIVING
    _, actions = play(Tick(8, blocked=False), ReadingDone(flagged=True), life=life)
    assert actions == [Action.READ, Action.RECORD]


def test_a_slice_after_a_provisional_reading_discards_it() -> None:
    life, actions = play(Tick(1.5, blocked=False), ReadingDone(flagged=False), SliceArrived(5.0))
    assert actions == [Action.READ, Action.DISCARD]
    assert life.phase is Phase.RECEIVING


def test_a_late_slice_reopens_with_a_pace_of_its_own() -> None:
    ended, _ = play(Evidence(CompletedBy.COUNT), Tick(0, blocked=False), ReadingDone(flagged=True))
    life, actions = play(SliceArrived(500.0), life=ended)
    assert actions == [Action.REOPEN]
    assert life == Life.begin(500.0)
    assert next_tick(life, PACE) == 501.5


def test_a_lost_reading_is_repeated() -> None:
    life, actions = play(
        Tick(1.5, blocked=False), ReadingLost(), Tick(1.6, blocked=False), ReadingDone(flagged=True)
    )
    assert actions == [Action.READ, Action.DISCARD, Action.READ, Action.RECORD]
    assert life.phase is Phase.ENDED


def test_a_slow_series_gets_more_patience() -> None:
    life, _ = play(*(SliceArrived(2.0 * n) for n in range(1, 20)))
    assert next_tick(life, PACE) == 38 + 8


SECONDS = st.one_of(st.sampled_from((0.0, PACE.floor_s, PACE.ceiling_s)), st.floats(0, 50))


class AnySeries(RuleBasedStateMachine):
    """Slices, evidence, ticks and readings in any order, beside an account of what was read when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.life = Life.begin(0.0)
        self.slices = 1
        self.in_reading: int | None = None
        self.in_result = 0
        self.flagged = False
        self.evident = False
        self.last_slice = 0.0

    def feed(self, event: Event) -> Action | None:
        before = self.life.phase
        self.life, action = advance(self.life, event, PACE)
        match action:
            case Action.READ | Action.CONFIRM:
                assert self.in_reading is None, "one reading at a time"
                self.in_reading = self.slices if action is Action.READ else self.in_result
            case Action.RECORD:
                assert self.in_result == self.slices, "what is recorded is of every slice"
                assert self.flagged or self.evident or self.now >= self.last_slice + PACE.ceiling_s
            case Action.REOPEN:
                assert before is Phase.ENDED
        return action

    @rule(after=SECONDS, late=st.booleans())
    def a_slice_comes(self, after: float, late: bool) -> None:
        """`late`: it was seen before the newest one, and parsed after it."""
        self.now += after
        seen_at = min(self.now, self.last_slice) if late and self.life.phase is not Phase.ENDED else self.now
        self.last_slice = max(seen_at, self.last_slice)
        self.slices += 1
        self.evident = False
        self.feed(SliceArrived(seen_at))

    @rule(by=st.sampled_from((CompletedBy.SENTINEL, CompletedBy.COUNT)))
    def evidence_comes(self, by: CompletedBy) -> None:
        self.evident = True
        self.feed(Evidence(by))

    @rule(after=SECONDS, blocked=st.booleans())
    def time_passes(self, after: float, blocked: bool) -> None:
        self.now += after
        action = self.feed(Tick(self.now, blocked))
        assert action is None or not blocked

    @precondition(lambda self: self.in_reading is not None)
    @rule(flagged=st.booleans())
    def a_reading_comes_back(self, flagged: bool) -> None:
        assert self.in_reading is not None
        if self.life.phase is Phase.READING:
            self.flagged = flagged
        self.in_result, self.in_reading = self.in_reading, None
        self.feed(ReadingDone(self.flagged))

    @precondition(lambda self: self.in_reading is not None)
    @rule()
    def a_reading_is_lost(self) -> None:
        self.in_reading = None
        self.feed(ReadingLost())

    @precondition(lambda self: self.life.phase is not Phase.ENDED)
    @rule()
    def what_was_read_is_doubted(self) -> None:
        if self.in_reading is None or self.life.phase is Phase.CONFIRMING:
            self.in_result = 0
            self.in_reading = None if self.in_reading is None else 0
        self.feed(ReadingDoubted())

    @invariant()
    def a_reading_runs_where_the_state_says_so(self) -> None:
        assert (self.in_reading is not None) == (self.life.phase in RUNNING)

    def teardown(self) -> None:
        """Whatever came before, with quiet from now on the series ends with a reading of every slice."""
        for _ in range(6):
            if self.life.phase is Phase.ENDED:
                break
            due = next_tick(self.life, PACE)
            if due is None:
                self.a_reading_comes_back(flagged=False)
            else:
                self.now = max(self.now, due)
                self.time_passes(0.0, blocked=False)
        assert self.life.phase is Phase.ENDED
        assert self.in_result == self.slices


TestAnySeries = AnySeries.TestCase
TestAnySeries.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
