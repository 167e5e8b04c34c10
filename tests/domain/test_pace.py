"""However turns are asked for, no span of the window holds more than the limit; and none is kept back for nothing."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from masking.domain.pace import MICROSECOND, Pace, take_turn

PACES = st.builds(
    Pace,
    st.integers(1, 400),
    st.integers(1_000, 10_000_000).map(lambda microseconds: microseconds * MICROSECOND),
)
PAUSES = st.lists(st.integers(0, 2_000_000), min_size=1, max_size=300)


@given(PACES, PAUSES)
def test_no_span_of_the_window_holds_more_turns_than_the_limit(pace: Pace, pauses: list[int]) -> None:
    free_at, now, begun = 0, 1, list[int]()
    window = pace.window // MICROSECOND
    for pause in pauses:
        now += pause
        turn = take_turn(pace, free_at, now)
        free_at = turn.free_at
        begun.append(now + turn.wait)
    assert begun == sorted(begun)
    for first, beyond in zip(begun, begun[pace.limit :], strict=False):
        assert beyond - first >= window, "a span that is just shorter holds one too many"


@given(PACES)
def test_after_a_rest_a_burst_comes_at_once_and_then_turns_come_at_the_spacing(pace: Pace) -> None:
    free_at, waits = 0, list[int]()
    for _ in range(pace.burst + 2):
        turn = take_turn(pace, free_at, 10**12)
        free_at = turn.free_at
        waits.append(turn.wait)
    spacing = pace.spacing // MICROSECOND
    assert waits == [0] * pace.burst + [spacing, 2 * spacing]


def test_what_plivo_allows_is_used_but_for_a_tenth() -> None:
    requests = Pace(300, timedelta(seconds=5))
    assert requests.burst == 30
    assert requests.burst + 5 / requests.spacing.total_seconds() > 300
    calls = Pace(2, timedelta(seconds=1))
    assert (calls.burst, calls.spacing) == (1, timedelta(milliseconds=500))
