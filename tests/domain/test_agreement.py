"""What holds for a session: the price is the operator's whatever is asked, and the rest as it is said or left open."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from masking.domain.agreement import Agreement, Left, agreed
from masking.domain.bill.money import Rate
from masking.domain.lifecycle import NO_RATE, opened, requested
from masking.domain.terms import SessionRequest
from tests.domain.conversation import START, VIRTUAL, request

prices = st.decimals(min_value=0, max_value=10, places=4)
rates = st.builds(Rate, per_minute=prices, increment=st.sampled_from([1, 60]))
policies = st.sampled_from(["finish", "warn", "drop", "extend"])
houses = st.builds(
    Agreement,
    rate=rates,
    session_fee=prices,
    pair_grace=st.integers(60, 86_400),
    recording_wait=st.integers(1, 600),
    at_expiry=policies,
    resource_base_url=st.just("https://masking.example/v1/Account/MA"),
    call_time_limit=st.integers(60, 86_400),
    ring_timeout=st.integers(5, 600),
)


@st.composite
def requests(draw: st.DrawFn) -> SessionRequest:
    base = request()
    limits = {
        "call_time_limit": draw(st.just(0) | st.integers(60, 86_400)),
        "ring_timeout": draw(st.just(0) | st.just(9)),
    }
    return base.model_copy(
        update={
            "rate": draw(st.none() | rates),
            "session_fee": draw(prices),
            "pair_grace": draw(st.integers(60, 86_400)),
            "at_expiry": draw(st.none() | policies),
            "resource_base_url": draw(st.sampled_from(["", "https://elsewhere.example"])),
            "terms": base.terms.model_copy(update=limits),
        }
    )


@given(requests(), houses)
def test_nobody_but_the_operator_decides_the_price_or_shortens_a_grace(asked: SessionRequest, house: Agreement) -> None:
    left = Left(terms_of_business=asked.rate is None, at_expiry=asked.at_expiry is None)
    before = requested(asked, START)
    agreement = agreed(before, house, left)
    held = opened(before, VIRTUAL, agreement=agreement).session

    assert (held.rate, held.session_fee) == (house.rate, house.session_fee)
    assert held.pair_grace >= house.pair_grace
    assert held.at_expiry == (asked.at_expiry or house.at_expiry)
    assert held.terms.call_time_limit == (asked.terms.call_time_limit or house.call_time_limit)
    assert held.terms.ring_timeout == (asked.terms.ring_timeout or house.ring_timeout)
    assert held.resource_base_url == (asked.resource_base_url or house.resource_base_url)
    assert held.recording_wait == (house.recording_wait if asked.rate is None else asked.recording_wait)
    # Once it holds, there is nothing more to agree on, and so nothing for the history to hold.
    assert agreed(agreement.applied_to(before) if agreement else before, house, Left()) is None


def test_what_the_gateway_asks_for_by_the_same_settings_adds_nothing_to_the_history() -> None:
    asked = request()
    assert asked.rate is not None
    house = Agreement(
        rate=asked.rate,
        session_fee=Decimal(0),
        pair_grace=asked.pair_grace,
        recording_wait=asked.recording_wait,
        at_expiry="finish",
        resource_base_url="https://another.example",
        call_time_limit=60,
        ring_timeout=5,
    )
    assert agreed(requested(asked.model_copy(update={"at_expiry": "finish"}), START), house, Left()) is None


def test_before_it_is_agreed_a_session_costs_nothing() -> None:
    asked = request().model_copy(update={"rate": None, "at_expiry": None})
    session = requested(asked, START)
    assert (session.rate, session.at_expiry) == (NO_RATE, "finish")
