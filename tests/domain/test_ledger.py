"""The ledger is what the bill is, and what the API tells, and what the history comes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from masking.domain.bill.charges import bill
from masking.domain.bill.corrections import corrected
from masking.domain.bill.ledger import (
    LedgerEntry,
    Sums,
    balances,
    correction_entries,
    entries_of,
    sums_by_currency,
)
from masking.domain.bill.money import QUANTUM, CallRates, CarrierCharge, LegRates, Rate
from masking.domain.events import AnyCarrierEvent, Call, Hangup, LegName
from masking.domain.session import Session
from masking.gateway.call_resources import leg_object
from masking.gateway.session_objects import session_object
from tests.domain.conversation import ACCOUNT, active_session, at, hear, request
from tests.domain.test_corrections import EVENTS, closed
from tests.domain.test_events_commute import deliveries, in_time

FLAT = Rate(per_minute=Decimal("0.0085"))


def money(most: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(0, most, places=places, allow_nan=False, allow_infinity=False)


rates = st.builds(
    Rate,
    per_minute=money(3, 7),
    increment=st.sampled_from([1, 6, 60]),
    first=st.sampled_from([None, 30]),
    minimum=st.sampled_from([0, 90]),
    connection_fee=money(1, 6),
)
leg_rates = st.builds(LegRates, price=rates, cost=st.none() | rates)
call_rates = st.builds(CallRates, caller=leg_rates, callee=leg_rates)
charges = st.builds(CarrierCharge, amount=money(3, 9), billed_duration=st.integers(0, 900), passed_on=st.booleans())


@st.composite
def priced(draw: st.DrawFn, events: Sequence[AnyCarrierEvent]) -> list[AnyCarrierEvent]:
    """The same events; some calls have rates of their own, some legs an amount of the carrier's."""
    by_call = {uuid: draw(st.none() | call_rates) for uuid in sorted({event.call.call_uuid for event in events})}
    by_leg = {
        event.event_id: draw(st.none() if event.never_dialled else st.none() | charges)
        for event in sorted(events, key=lambda each: each.event_id)
        if isinstance(event, Hangup)
    }

    def of(call: Call) -> Call:
        return call.model_copy(update={"rates": by_call[call.call_uuid]})

    def told(event: AnyCarrierEvent) -> AnyCarrierEvent:
        charge = {"carrier_charge": by_leg[event.event_id]} if isinstance(event, Hangup) else {}
        return event.model_copy(update={"call": of(event.call), **charge})

    return [told(event) for event in events]


def with_fee(fee: Decimal) -> Session:
    return active_session(request().model_copy(update={"session_fee": fee}))


def computed_by_hand(events: Sequence[AnyCarrierEvent]) -> Sums:
    """What the hangups in a history come to, in fractions and by no code of ours."""
    calls = cost = Fraction(0)
    for hangup in in_time(list(events)):
        if not isinstance(hangup, Hangup):
            continue
        of, told = hangup.call.rates, hangup.carrier_charge
        leg = None if of is None else of.caller if hangup.leg is LegName.CALLER else of.callee
        if leg is None and told is not None and told.passed_on:
            calls += Fraction(told.amount)
        else:
            calls += rounded(hangup.duration, leg.price if leg is not None else FLAT)
        if told is not None:
            cost += Fraction(told.amount)
        elif leg is not None and leg.cost is not None:
            cost += rounded(hangup.duration, leg.cost)
    return Sums(decimal(calls), Decimal(0), decimal(cost))


def rounded(seconds: int, rate: Rate) -> Fraction:
    if seconds == 0:
        return Fraction(0)
    counted, billed = max(seconds, rate.minimum), rate.first or rate.increment
    while billed < counted:
        billed += rate.increment
    units = (Fraction(rate.per_minute) * billed / 60 + Fraction(rate.connection_fee)) / Fraction(QUANTUM)
    return (units + Fraction(1, 2)).__floor__() * Fraction(QUANTUM)


def decimal(fraction: Fraction) -> Decimal:
    return Decimal(fraction.numerator) / Decimal(fraction.denominator)


def told_by_the_api(session: Session) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """A session's calls, by its own total, by its conversations, by its legs; and all of it."""
    shown = session_object(session, at(40_000))
    conversations = [Decimal(each.total_call_amount) for each in shown.interaction or []]
    legs = [
        Decimal(leg_object(session, interaction, leg, ACCOUNT, is_caller=leg is interaction.caller).total_amount)
        for interaction in session.conversations
        for _, leg in interaction.legs
    ]
    return (
        Decimal(shown.total_call_amount),
        sum(conversations, Decimal(0)),
        sum(legs, Decimal(0)),
        Decimal(shown.total_session_amount),
    )


@given(deliveries().flatmap(priced), money(2, 5))
def test_ledger_bill_api_and_history_agree(events: list[AnyCarrierEvent], fee: Decimal) -> None:
    session = closed(hear(with_fee(fee), events).session)
    entries = entries_of(session)
    by_hand = computed_by_hand(events)

    sums = sums_by_currency(entries).get("USD", Sums())
    assert sums == by_hand._replace(fee=fee)
    totals = bill(session)
    assert (totals.calls.amount, totals.session_amount) == (by_hand.calls, fee)
    assert told_by_the_api(session) == (by_hand.calls,) * 3 + (by_hand.calls + fee,)
    again = bill(closed(hear(with_fee(fee), in_time(events)).session))
    assert again == totals, "recomputed from the history in its order"

    held = {account: amount for (account, _), amount in balances(entries).items()}
    assert sum(held.values()) == 0
    assert (
        held.get(f"receivable:{ACCOUNT}", 0)
        == totals.total_amount
        == -held.get("revenue:calls", 0) - held.get("revenue:sessions", 0)
    )
    assert held.get("cost:calls", 0) == by_hand.cost == -held.get("payable:carrier", 0)


@given(deliveries().flatmap(priced))
def test_entries_name_their_cause_and_are_the_same_whenever_they_are_made(events: list[AnyCarrierEvent]) -> None:
    entries = entries_of(closed(hear(with_fee(Decimal(1)), events).session))
    again = entries_of(closed(hear(with_fee(Decimal(1)), in_time(events)).session))

    hangups = {event.event_id for event in events if isinstance(event, Hangup)}
    assert {entry.cause for entry in entries} <= hangups | {"settlement"}
    assert len({entry.entry_id for entry in entries}) == len(entries)
    assert all(entry.amount > 0 for entry in entries)
    assert entries == again


@st.composite
def late_deliveries(draw: st.DrawFn) -> tuple[list[AnyCarrierEvent], list[AnyCarrierEvent]]:
    """Events that came in time, and those that came after the settlement, some of them twice."""
    events = draw(priced(EVENTS))
    chosen = draw(st.sets(st.sampled_from(range(len(events)))))
    late = [event for n, event in enumerate(events) if n not in chosen]
    again = draw(st.lists(st.sampled_from(late), max_size=3)) if late else []
    return [events[n] for n in sorted(chosen)], draw(st.permutations(late + again))


@given(late_deliveries())
def test_settlement_and_corrections_make_the_ledger_of_a_session_that_heard_all_in_time(
    told: tuple[list[AnyCarrierEvent], list[AnyCarrierEvent]],
) -> None:
    in_time_, late = told
    session = closed(hear(with_fee(Decimal("0.5")), in_time_).session)

    posted: dict[str, LedgerEntry] = {entry.entry_id: entry for entry in entries_of(session)}
    before = session
    for event in late:
        after = corrected(before, [event])
        for entry in correction_entries(before, after, event):
            assert entry.cause == event.event_id
            assert entry.entry_id not in posted, "an entry is never changed, and none comes twice"
            posted[entry.entry_id] = entry
        before = after

    whole = entries_of(closed(hear(with_fee(Decimal("0.5")), in_time([*in_time_, *late])).session))
    assert _held(posted.values()) == _held(whole) == _held(entries_of(before))
    assert sums_by_currency(posted.values()).get("USD", Sums()) == sums_by_currency(whole).get("USD", Sums())


def _held(entries: Iterable[LedgerEntry]) -> dict[tuple[str, str], Decimal]:
    return {account: amount for account, amount in balances(entries).items() if amount}


def test_a_correction_downwards_goes_the_other_way() -> None:
    session = closed(hear(active_session(), EVENTS).session)
    (event,) = [event for event in EVENTS if event.event_id == "one:callee:hangup"]
    without = session.interactions["one"].model_copy(
        update={"callee": session.interactions["one"].callee.model_copy(update={"hangup": None})}
    )
    less = session.model_copy(update={"interactions": session.interactions | {"one": without}})

    (entry,) = correction_entries(session, less, event)
    # 75 s are two minutes of 0.0085
    assert (entry.debit, entry.credit, str(entry.amount)) == ("revenue:calls", f"receivable:{ACCOUNT}", "0.01700")
    assert (entry.signed, entry.duration, entry.billed_duration) == (Decimal("-0.017"), -75, -120)
