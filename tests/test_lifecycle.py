from appliance.intake.completeness import CompletedBy, Pace
from appliance.lifecycle import (
    Action,
    Event,
    Evidence,
    Life,
    Phase,
    ReadingDone,
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
    life, actions = play(Tick(30.2, blocked=False), life=life)
    assert actions == [Action.RECORD]
    assert life.phase is Phase.ENDED


def test_a_sentinel_ends_without_waiting_for_quiet_or_ceiling() -> None:
    life, actions = play(
        SliceArrived(0.1),
        Evidence(CompletedBy.SENTINEL),
        Tick(0.2, blocked=False),
        ReadingDone(flagged=False),
    )
    assert actions == [Action.READ, Action.RECORD]
    assert life.completed_by is CompletedBy.SENTINEL


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
