"""A dead endpoint takes nobody else's turn; a callback is tried for as long as was promised."""

from __future__ import annotations

from datetime import timedelta

from masking.delivery.endpoints import (
    AT_ONCE,
    AT_ONCE_OF_ACCOUNT,
    FAILURES,
    FORGOTTEN_AFTER_S,
    LAST_REST_S,
    MOST_KNOWN,
    SHORT_WAIT_S,
    Endpoint,
    Endpoints,
    Rest,
)
from masking.delivery.sender import Patience

HERE, THERE = Endpoint("MA1", "https://customer.example", "MA1"), Endpoint("MA1", "https://other.example", "MA1")


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
        rest = endpoints.done(HERE, now, taken=False)
        assert (rest is None) == (failure < FAILURES)
        if rest is not None:
            assert rest == Rest(failure, endpoints.admit(HERE, now))
            rests.append(rest.seconds)
            now += rest.seconds
    assert rests == sorted(rests)
    assert rests[-1] == LAST_REST_S

    assert endpoints.admit(HERE, now) == 0.0
    assert endpoints.admit(HERE, now) == SHORT_WAIT_S, "one finds out how it does"
    endpoints.done(HERE, now, taken=True)
    assert [endpoints.admit(HERE, now) for _ in range(AT_ONCE)] == [0.0] * AT_ONCE


def test_another_accounts_callbacks_to_the_same_place_do_not_rest() -> None:
    endpoints = Endpoints()
    for _ in range(FAILURES):
        assert endpoints.admit(HERE, 0.0) == 0.0
        endpoints.done(HERE, 0.0, taken=False)
    assert endpoints.admit(HERE, 0.0) > 0
    assert endpoints.admit(HERE._replace(owner_id="MA2", account_id="MA2"), 0.0) == 0.0


def test_an_account_with_many_endpoints_leaves_room_for_the_others() -> None:
    endpoints = Endpoints()
    many = [Endpoint(f"SA{n % 3}", f"https://{n}.customer.example", "MA1") for n in range(AT_ONCE_OF_ACCOUNT + 1)]
    assert [endpoints.admit(each, 0.0) for each in many] == [0.0] * AT_ONCE_OF_ACCOUNT + [SHORT_WAIT_S]
    assert endpoints.admit(Endpoint("MA2", "https://other.example", "MA2"), 0.0) == 0.0
    endpoints.done(many[0], 0.0, taken=True)
    assert endpoints.admit(many[-1], 0.0) == 0.0


def test_endpoints_of_long_ago_are_forgotten_and_those_that_rest_are_not() -> None:
    endpoints = Endpoints()
    for n in range(MOST_KNOWN):
        failing = Endpoint("MA1", f"https://{n}.customer.example", "MA1")
        for _ in range(FAILURES):
            endpoints.admit(failing, 0.0)
            endpoints.done(failing, 0.0, taken=False)
    endpoints.admit(THERE, 1.0)
    assert len(endpoints) == MOST_KNOWN + 1
    endpoints.admit(HERE, FORGOTTEN_AFTER_S + 10)
    assert len(endpoints) == 2


def test_pauses_grow_until_it_is_given_up() -> None:
    patience = Patience(give_up_after=timedelta(hours=24), longest_pause=timedelta(minutes=10))
    pauses = [patience.pause(attempts, timedelta(0)) for attempts in range(1, 13)]
    assert pauses[:4] == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 8)]
    assert pauses[-1] == timedelta(minutes=10)
    assert patience.pause(150, timedelta(hours=23, minutes=49)) == timedelta(minutes=10)
    assert patience.pause(150, timedelta(hours=23, minutes=51)) is None
