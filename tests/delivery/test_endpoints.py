"""A dead endpoint takes nobody else's turn; a callback is tried for as long as was promised."""

from __future__ import annotations

from datetime import timedelta

from masking.delivery.endpoints import AT_ONCE, FAILURES, LAST_REST_S, SHORT_WAIT_S, Endpoints
from masking.delivery.sender import Patience

HERE, THERE = "https://customer.example:443", "https://other.example:443"


def test_an_endpoint_gets_only_so_many_requests_at_once() -> None:
    endpoints = Endpoints()
    assert [endpoints.admit(HERE, 0.0) for _ in range(AT_ONCE + 1)] == [0.0] * AT_ONCE + [SHORT_WAIT_S]
    assert endpoints.admit(THERE, 0.0) == 0.0
    endpoints.done(HERE, 0.0, taken=True)
    assert endpoints.admit(HERE, 0.0) == 0.0


def test_an_endpoint_that_keeps_failing_rests_longer_and_longer_and_is_then_tried_once() -> None:
    endpoints, now, rests = Endpoints(), 0.0, []
    for failure in range(1, FAILURES + 8):
        assert endpoints.admit(HERE, now) == 0.0
        endpoints.done(HERE, now, taken=False)
        if failure >= FAILURES:
            rests.append(endpoints.admit(HERE, now))
            now += rests[-1]
    assert rests == sorted(rests)
    assert rests[-1] == LAST_REST_S

    assert endpoints.admit(HERE, now) == 0.0
    assert endpoints.admit(HERE, now) == SHORT_WAIT_S, "one finds out how it does"
    endpoints.done(HERE, now, taken=True)
    assert [endpoints.admit(HERE, now) for _ in range(AT_ONCE)] == [0.0] * AT_ONCE


def test_pauses_grow_until_it_is_given_up() -> None:
    patience = Patience(give_up_after=timedelta(hours=24), longest_pause=timedelta(minutes=10))
    pauses = [patience.pause(attempts, timedelta(0)) for attempts in range(1, 13)]
    assert pauses[:4] == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 8)]
    assert pauses[-1] == timedelta(minutes=10)
    assert patience.pause(150, timedelta(hours=23, minutes=49)) == timedelta(minutes=10)
    assert patience.pause(150, timedelta(hours=23, minutes=51)) is None
