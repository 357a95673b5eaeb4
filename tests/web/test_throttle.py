from __future__ import annotations

from appliance.web.throttle import ADDRESSES, LONGEST_WAIT_S, Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_wait_doubles_up_to_a_minute_and_ends() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    waits = []
    for _ in range(9):
        assert throttle.wait_s("192.0.2.1") == 0
        throttle.wrong("192.0.2.1")
        waits.append(throttle.wait_s("192.0.2.1"))
        clock.now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, LONGEST_WAIT_S]


def test_other_addresses_do_not_wait() -> None:
    throttle = Throttle(Clock())
    throttle.wrong("192.0.2.1")
    assert throttle.wait_s("192.0.2.2") == 0


def test_a_right_token_and_an_hour_are_a_new_start() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(5):
        throttle.wrong("192.0.2.1")
    throttle.right("192.0.2.1")
    throttle.wrong("192.0.2.1")
    assert throttle.wait_s("192.0.2.1") == 1
    for _ in range(5):
        throttle.wrong("192.0.2.1")
    clock.now += 3601
    throttle.wrong("192.0.2.1")
    assert throttle.wait_s("192.0.2.1") == 1


def test_who_guesses_from_many_addresses_keeps_nobody_else_waiting() -> None:
    throttle = Throttle(Clock())
    for number in range(2000):
        throttle.wrong(f"10.0.{number // 250}.{number % 250}")
    assert throttle.wait_s("10.1.0.1") == 0
    assert throttle.wait_s("10.0.7.249") > 0


def test_memory_is_bounded_and_the_longest_silent_is_forgotten() -> None:
    throttle = Throttle(Clock())
    for number in range(ADDRESSES + 5):
        throttle.wrong(f"10.0.{number // 250}.{number % 250}")
        throttle.wrong("10.9.9.9")
    assert len(throttle) == ADDRESSES
    throttle.wrong("10.9.9.9")
    throttle.wrong("10.0.0.0")
    assert len(throttle) == ADDRESSES


def test_a_network_of_ipv6_is_one_address() -> None:
    throttle = Throttle(Clock())
    throttle.wrong("2001:db8::1")
    assert throttle.wait_s("2001:db8::ffff:1%eth0") == 1
    assert throttle.wait_s("2001:db8:0:1::1") == 0
    throttle.wrong("")
    assert throttle.wait_s("") == 1
