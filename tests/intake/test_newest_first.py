"""The order of a backlog."""

from __future__ import annotations

import pytest

from appliance.intake.newest_first import EVERY, NewestFirst


def test_the_newest_comes_first_and_now_and_then_the_oldest() -> None:
    backlog: NewestFirst[int] = NewestFirst()
    for moment in (3, 1, 4, 2, 5, 0):
        backlog.put(moment, moment)
    assert [backlog.pop() for _ in range(6)] == [5, 4, 3, 0, 2, 1]
    with pytest.raises(IndexError):
        backlog.pop()


def test_what_is_oldest_comes_however_much_is_new() -> None:
    backlog: NewestFirst[str] = NewestFirst()
    backlog.put(0, "old")
    taken = []
    for moment in range(1, EVERY + 2):
        backlog.put(moment, f"new {moment}")
        taken.append(backlog.pop())
    assert "old" in taken


def test_equal_moments_need_no_order_of_the_items() -> None:
    backlog: NewestFirst[object] = NewestFirst()
    items = [object(), object()]
    for item in items:
        backlog.put(1.0, item)
    assert {backlog.pop(), backlog.pop()} == set(items)
