"""Guessing is slowed; those who know their token are not kept out."""

from __future__ import annotations

from masking.gateway.login_limit import FAILURES, KNOWN_FOR_S, MOST, WINDOW_S, LoginLimiter

HERE, THERE, ACCOUNT = "192.0.2.1", "192.0.2.2", "MA1"


def guessed(limiter: LoginLimiter, times: int = FAILURES, now: float = 0.0) -> None:
    for _ in range(times):
        assert limiter.seconds_to_wait(HERE, ACCOUNT, "wrong", now) == 0
        limiter.failed(HERE, ACCOUNT, now)


def test_after_many_failures_the_next_wait_until_the_first_is_long_ago() -> None:
    limiter = LoginLimiter()
    guessed(limiter)
    assert limiter.seconds_to_wait(HERE, ACCOUNT, "right", 1.0) == WINDOW_S - 1
    assert limiter.seconds_to_wait(HERE, ACCOUNT, "right", WINDOW_S - 0.01) == 1
    assert limiter.seconds_to_wait(HERE, ACCOUNT, "right", WINDOW_S) == 0


def test_others_are_not_kept_out() -> None:
    limiter = LoginLimiter()
    guessed(limiter)
    assert limiter.seconds_to_wait(THERE, ACCOUNT, "right", 1.0) == 0
    assert limiter.seconds_to_wait(HERE, "MA2", "right", 1.0) == 0


def test_a_token_that_was_right_from_there_is_let_through_and_no_other() -> None:
    limiter = LoginLimiter()
    limiter.succeeded(HERE, ACCOUNT, "right", 0.0)
    guessed(limiter, now=1.0)
    assert limiter.seconds_to_wait(HERE, ACCOUNT, "right", 2.0) == 0
    assert limiter.seconds_to_wait(HERE, ACCOUNT, "rigth", 2.0) > 0
    guessed_late = KNOWN_FOR_S + 1
    guessed(limiter, now=guessed_late)
    assert limiter.seconds_to_wait(HERE, ACCOUNT, "right", guessed_late) > 0


def test_it_keeps_no_more_than_so_many() -> None:
    limiter = LoginLimiter()
    guessed(limiter)
    for n in range(MOST):
        limiter.failed(THERE, f"MA{n}", 0.0)
        limiter.succeeded(THERE, f"MA{n}", "right", 0.0)
    assert limiter.seconds_to_wait(HERE, ACCOUNT, "wrong", 0.0) == 0, "the oldest is forgotten"
