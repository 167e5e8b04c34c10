"""Which entry of a rate card prices a leg, and what a whole call costs by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking.domain.bill.money import Direction, Rate
from masking.domain.bill.quotes import quoted
from masking.domain.bill.rates import Legs, Party, RateCard, RateEntry, SessionFee, WrongCard, checked

INBOUND, OUTBOUND = Direction.INBOUND, Direction.OUTBOUND
DECEMBER, JANUARY = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ALICE, ASHA, ANITA = Party("+12025550101", "US"), Party("+919812345678", "IN"), Party("+912212345678", "IN")
HIDDEN, SATELLITE = Party("", ""), Party("+881612345678", "")


def entry(
    name: str,
    *,
    prefix: str = "",
    country: str = "",
    direction: Direction | None = None,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    rate: Rate | None = None,
) -> RateEntry:
    return RateEntry(
        name=name,
        prefix=prefix,
        country=country,
        direction=direction,
        valid_from=valid_from,
        valid_until=valid_until,
        rate=rate or Rate(per_minute=Decimal("0.01")),
    )


ANY = entry("any")
CARD = (
    ANY,
    entry("any outbound", direction=OUTBOUND),
    entry("IN", country="IN"),
    entry("IN inbound", country="IN", direction=INBOUND),
    entry("+91", prefix="91"),
    entry("+9198", prefix="9198", direction=OUTBOUND),
    entry("+919812", prefix="919812", valid_from=DECEMBER, valid_until=JANUARY),
    entry("+1", prefix="1", valid_from=JANUARY),
)


def card(*customer: RateEntry, cost: tuple[RateEntry, ...] = (), fees: tuple[SessionFee, ...] = ()) -> RateCard:
    return RateCard(currency="USD", customer=customer, cost=cost, session_fees=fees)


@pytest.mark.parametrize(
    ("party", "direction", "at", "name"),
    [
        (ALICE, INBOUND, DECEMBER, "any"),
        (ALICE, OUTBOUND, DECEMBER, "any outbound"),
        (ALICE, OUTBOUND, JANUARY - SECOND, "any outbound"),
        (ALICE, OUTBOUND, JANUARY, "+1"),
        (ANITA, INBOUND, DECEMBER, "+91"),
        (ASHA, OUTBOUND, DECEMBER - SECOND, "+9198"),
        (ASHA, INBOUND, DECEMBER - SECOND, "+91"),
        (ASHA, OUTBOUND, DECEMBER, "+919812"),
        (ASHA, OUTBOUND, JANUARY - SECOND, "+919812"),
        (ASHA, OUTBOUND, JANUARY, "+9198"),
        (Party("+910", "IN"), OUTBOUND, DECEMBER, "+91"),
        (HIDDEN, INBOUND, DECEMBER, "any"),
        (SATELLITE, OUTBOUND, DECEMBER, "any outbound"),
    ],
    ids=str,
)
def test_the_most_specific_entry_that_is_valid_prices_a_leg(
    party: Party, direction: Direction, at: datetime, name: str
) -> None:
    found = checked(card(*CARD)).price(party, direction, at)
    assert found is not None
    assert found.name == name


def test_a_country_goes_before_any_and_its_direction_before_either() -> None:
    without_prefixes = card(*(each for each in CARD if not each.prefix))
    found = [without_prefixes.price(ASHA, direction, DECEMBER) for direction in (INBOUND, OUTBOUND)]
    assert [each and each.name for each in found] == ["IN inbound", "IN"]


@given(st.permutations(CARD))
def test_the_order_of_entries_does_not_matter(shuffled: list[RateEntry]) -> None:
    one, other = card(*CARD), card(*shuffled)
    for party in (ALICE, ASHA, ANITA, HIDDEN):
        for direction in Direction:
            assert one.price(party, direction, DECEMBER) == other.price(party, direction, DECEMBER)


@pytest.mark.parametrize(
    "pair",
    [
        (entry("one"), entry("two")),
        (entry("one", valid_until=JANUARY), entry("two", valid_from=JANUARY - SECOND)),
        (ANY, entry("one", prefix="91"), entry("two", prefix="91", valid_from=JANUARY)),
        (ANY, entry("one", country="IN", direction=INBOUND), entry("two", country="IN", direction=INBOUND)),
    ],
    ids=["any", "a second in common", "prefix", "country and direction"],
)
def test_two_entries_for_the_same_legs_at_the_same_time_are_refused(pair: tuple[RateEntry, ...]) -> None:
    for order in permutations(pair):
        with pytest.raises(WrongCard, match=r"(one|two) and (one|two) are for the same"):
            checked(card(*order))
    with pytest.raises(WrongCard, match="are for the same"):
        checked(card(ANY, cost=pair))


def test_prices_may_follow_one_another_to_the_second() -> None:
    following = card(entry("old", valid_until=JANUARY), entry("new", valid_from=JANUARY))
    names = [checked(following).price(ALICE, INBOUND, at) for at in (JANUARY - SECOND, JANUARY)]
    assert [each and each.name for each in names] == ["old", "new"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry("IN", country="IN")], "no price for inbound legs of other numbers"),
        ([entry("out", direction=OUTBOUND)], "no price for inbound legs of other numbers"),
        ([entry("in", direction=INBOUND)], "no price for outbound legs of other numbers"),
        ([entry("old", valid_until=JANUARY)], "from 2027-01-01 00:00:00 UTC on"),
        ([entry("old", valid_until=DECEMBER), entry("new", valid_from=JANUARY)], "from 2026-12-01 00:00:00 UTC on"),
    ],
    ids=["only a country", "no inbound", "no outbound", "ends", "gap"],
)
def test_a_card_leaves_no_number_without_a_price(entries: list[RateEntry], words: str) -> None:
    with pytest.raises(WrongCard, match=words):
        checked(card(*entries))


def test_before_a_card_begins_it_prices_nothing() -> None:
    later = checked(card(entry("later", valid_from=JANUARY)))
    legs = Legs(ALICE, ASHA)
    assert later.call_rates(legs, JANUARY - SECOND) is None
    assert later.call_rates(legs, JANUARY) is not None


def test_session_fees_hold_to_the_second() -> None:
    fee = SessionFee(name="fee", fee=Decimal("0.05"), valid_from=DECEMBER, valid_until=JANUARY)
    with_fee = checked(card(ANY, fees=(fee,)))
    moments = (DECEMBER - SECOND, DECEMBER, JANUARY - SECOND, JANUARY)
    assert [str(with_fee.session_fee_amount(at)) for at in moments] == ["0", "0.05", "0.05", "0"]
    with pytest.raises(WrongCard, match="are for the same"):
        checked(card(ANY, fees=(fee, fee)))


WHOLE = checked(
    card(
        entry("US", country="US", rate=Rate(per_minute=Decimal("0.0085"))),
        entry(
            "IN mobile",
            prefix="9198",
            direction=OUTBOUND,
            rate=Rate(per_minute=Decimal("0.02"), first=30, increment=6, minimum=30, connection_fee=Decimal("0.002")),
        ),
        entry("any", rate=Rate(per_minute=Decimal("0.03"), increment=1)),
        cost=(entry("cost", rate=Rate(per_minute=Decimal("0.005"))),),
        fees=(SessionFee(name="fee", fee=Decimal("0.01")),),
    )
)


@pytest.mark.parametrize(
    ("legs", "seconds", "amounts", "total", "cost"),
    [
        # 66 s inbound from the US: 2 × 60 s × 0.0085; 61 s to IN: 30 + 6 × 6 = 66 s × 0.02 / 60 + 0.002
        (Legs(ALICE, ASHA), (66, 61), ["0.01700", "0.02400"], "0.05100", "0.02000"),
        (Legs(ALICE, ASHA), (60, 30), ["0.00850", "0.01200"], "0.03050", "0.01000"),
        (Legs(ALICE, ASHA), (61, 31), ["0.01700", "0.01400"], "0.04100", "0.01500"),
        # nobody picks up: no connection fee
        (Legs(ALICE, ASHA), (45, 0), ["0.00850", "0.00000"], "0.01850", "0.00500"),
        (Legs(ALICE, ASHA), (0, 0), ["0.00000", "0.00000"], "0.01000", "0.00000"),
        # from IN its mobiles have no price of their own: by the second at 0.03
        (Legs(ASHA, ALICE), (59, 59), ["0.02950", "0.00850"], "0.04800", "0.01000"),
        # we call the Indian phone first: that leg is outbound
        (Legs(ASHA, ALICE, placed=True), (59, 59), ["0.02200", "0.00850"], "0.04050", "0.01000"),
        (Legs(HIDDEN, None), (1, 0), ["0.00050"], "0.01050", "0.00500"),
    ],
)  # fmt: skip
def test_hand_computed_calls(legs: Legs, seconds: tuple[int, int], amounts: list[str], total: str, cost: str) -> None:
    quote = quoted(WHOLE, legs, seconds, DECEMBER)

    assert [str(leg.price and leg.price.amount) for leg in quote.legs] == amounts
    assert (str(quote.amount), str(quote.cost)) == (total, cost)
    assert quote.margin == Decimal(total) - Decimal(cost)
