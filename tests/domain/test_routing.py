"""Who is connected to whom, and what the callee sees."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from masking.domain.events import Side
from masking.domain.routing import Busy, Connect, Reason, Refuse, Route, SayEnded, decide, decide_unknown
from tests.domain.conversation import ACCOUNT, FIRST, SECOND, SESSION_UUID, VIRTUAL, at

numbers = st.sampled_from([VIRTUAL, "+12025550198", FIRST, SECOND])


@st.composite
def routes(draw: st.DrawFn) -> Route:
    caller = draw(st.sampled_from(Side))
    ends = {Side.FIRST: FIRST, Side.SECOND: SECOND}
    return Route(
        session_uuid=SESSION_UUID,
        account_id=ACCOUNT,
        caller=caller,
        caller_number=ends[caller],
        callee_number=ends[caller.other],
        virtual_number=draw(st.none() | numbers),
        expires_at=at(draw(st.integers(-10, 10))),
        busy=draw(st.booleans()),
        record=draw(st.booleans()),
        record_file_format=draw(st.sampled_from(["mp3", "wav"])),
        ring_timeout=draw(st.integers(5, 600)),
        call_time_limit=draw(st.integers(60, 86400)),
    )


@given(routes(), numbers, st.integers(-10, 10))
def test_a_call_is_connected_only_in_time_when_free_and_behind_a_number_of_the_pool(
    route: Route, called: str, seconds: int
) -> None:
    now = at(seconds)

    decision = decide(called, route, now)

    match decision:
        case Connect():
            assert now < route.expires_at
            assert not route.busy
            assert decision.caller_id == called == route.virtual_number
            assert decision.to == route.callee_number != route.caller_number
            assert decision.record == (route.record_file_format if route.record else None)
            assert (decision.ring_timeout, decision.call_time_limit) == (route.ring_timeout, route.call_time_limit)
        case SayEnded():
            assert now >= route.expires_at
        case Busy():
            assert route.busy
        case Refuse(reason=reason):
            assert reason is Reason.FOREIGN_CALLER_ID
            assert route.virtual_number != called


def test_the_last_second_is_over_at_expiry() -> None:
    one = Route(
        session_uuid=SESSION_UUID,
        account_id=ACCOUNT,
        caller=Side.FIRST,
        caller_number=FIRST,
        callee_number=SECOND,
        virtual_number=VIRTUAL,
        expires_at=at(60),
        busy=False,
        record=False,
        record_file_format="mp3",
        ring_timeout=120,
        call_time_limit=3600,
    )
    assert isinstance(decide(VIRTUAL, one, at(60) - timedelta(microseconds=1)), Connect)
    assert isinstance(decide(VIRTUAL, one, at(60)), SayEnded)


def test_an_unknown_caller_is_refused_with_that_reason() -> None:
    assert decide_unknown() == Refuse(reason=Reason.UNKNOWN_CALLER)
