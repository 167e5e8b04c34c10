"""Whose price a leg is charged at: its call's, the carrier's, or the session's; and what it costs us."""

from __future__ import annotations

from decimal import Decimal

from masking.domain.bill.charges import LegCost, bill, leg_charge, leg_cost, leg_price
from masking.domain.bill.money import CallRates, CarrierCharge, LegRates, Rate
from masking.domain.events import Call, Hangup, LegName
from masking.domain.lifecycle import opened, refused, requested
from tests.domain.conversation import START, VIRTUAL, active_session, answered_call, call, hangup, hear, request

RATES = CallRates(
    caller=LegRates(price=Rate(per_minute=Decimal("0.01")), cost=Rate(per_minute=Decimal("0.004"), increment=1)),
    callee=LegRates(price=Rate(per_minute=Decimal("0.02"), increment=6, first=30)),
)
TOLD = CarrierCharge(amount=Decimal("0.0123456"), billed_duration=75)


def ended(leg: LegName, rates: CallRates | None = None, charge: CarrierCharge | None = None) -> Hangup:
    of = call().model_copy(update={"rates": rates})
    return hangup(of, leg, 90, 61).model_copy(update={"carrier_charge": charge})


def amounts(ends: Hangup) -> tuple[int, str]:
    charge = leg_charge(active_session(), ends)
    return charge.billed_duration, str(charge.amount)


def test_a_leg_is_charged_at_its_calls_own_rate_else_at_the_sessions() -> None:
    assert amounts(ended(LegName.CALLER)) == (120, "0.01700")
    assert amounts(ended(LegName.CALLER, RATES)) == (120, "0.02000")
    assert amounts(ended(LegName.CALLEE, RATES)) == (66, "0.02200")


def test_a_bill_has_one_currency_so_that_rates_of_another_do_not_hold() -> None:
    euros = Rate(per_minute=Decimal("0.01"), currency="EUR")
    rates = CallRates(caller=LegRates(price=euros), callee=LegRates(price=euros))
    assert amounts(ended(LegName.CALLER, rates)) == (120, "0.01700")


def test_a_carriers_own_amount_is_charged_as_it_stands_where_it_is_passed_on() -> None:
    passed_on = TOLD.model_copy(update={"passed_on": True})
    assert amounts(ended(LegName.CALLER, None, TOLD)) == (120, "0.01700"), "what it costs us is not the price"
    assert amounts(ended(LegName.CALLER, None, passed_on)) == (75, "0.0123456")
    assert amounts(ended(LegName.CALLER, RATES, passed_on)) == (120, "0.02000"), "a card goes before it"
    elsewhere = passed_on.model_copy(update={"currency": "INR"})
    assert amounts(ended(LegName.CALLER, None, elsewhere)) == (120, "0.01700")


def test_a_leg_costs_what_the_carrier_says_else_what_the_card_does_else_nobody_knows() -> None:
    assert leg_cost(ended(LegName.CALLER, RATES, TOLD)) == LegCost(
        billed_duration=75, amount=Decimal("0.0123456"), currency="USD"
    )
    assert leg_cost(ended(LegName.CALLER, RATES)) == LegCost(
        billed_duration=61, amount=Decimal("0.00407"), currency="USD"
    )
    assert leg_cost(ended(LegName.CALLEE, RATES)) is None
    assert leg_cost(ended(LegName.CALLER)) is None


def test_the_price_of_a_minute_is_told_for_each_leg() -> None:
    session, of = active_session(), call().model_copy(update={"rates": RATES})
    assert leg_price(session, of, LegName.CALLER, None) == Decimal("0.01")
    assert leg_price(session, of, LegName.CALLEE, ended(LegName.CALLEE, RATES)) == Decimal("0.02")
    assert leg_price(session, call(), LegName.CALLEE, None) == Decimal("0.0085")
    passed_on = TOLD.model_copy(update={"passed_on": True})
    # 0.0123456 × 60 / 75 = 0.00987648
    assert leg_price(session, call(), LegName.CALLER, ended(LegName.CALLER, None, passed_on)) == Decimal("0.00988")


def test_an_open_session_owes_its_fee_and_a_refused_one_nothing() -> None:
    asked = requested(request().model_copy(update={"session_fee": Decimal("0.05")}), START)
    assert bill(asked).total_amount == 0
    assert bill(refused(asked, "no number").session).total_amount == 0
    session = hear(opened(asked, VIRTUAL).session, answered_call(call())).session
    # 80 s and 75 s, each two minutes of 0.0085
    assert (str(bill(session).session_amount), str(bill(session).total_amount)) == ("0.05", "0.08400")


def test_prices_travel_with_a_call_and_their_absence_takes_no_room() -> None:
    with_rates = call().model_copy(update={"rates": RATES})
    assert Call.model_validate_json(with_rates.model_dump_json()) == with_rates
    assert "rates" not in call().model_dump_json()
    assert "carrier_charge" not in ended(LegName.CALLER).model_dump_json()
    assert "session_fee" not in active_session().model_dump_json()
