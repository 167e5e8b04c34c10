"""What a carrier's webhooks tell, field by field."""

from __future__ import annotations

from datetime import timedelta

import pytest

from masking.carriers.voice.webhooks import caller_hangup, dial_event
from masking.domain.events import Hangup
from tests.domain.conversation import at, call


@pytest.mark.parametrize(
    "written",
    ["2026-11-23 14:01:30", "2026-11-23 14:01:30.250000", "2026-11-23T14:01:30Z", "2026-11-23 19:31:30+05:30"],
)
def test_a_hangup_happened_when_the_carrier_says_so(written: str) -> None:
    hangup = caller_hangup({"EndTime": written}, call(), at(10), at(700))

    assert hangup.happened_at.replace(microsecond=0) == at(90)
    assert hangup.at == at(700), "what is waited for counts from when we were told"


@pytest.mark.parametrize(
    "written",
    ["", "soon", "2026-11-23", "2026-11-23 14:00:09", "2026-11-23 14:11:41", "2026-11-23 19:31:30", "9" * 30],
)
def test_a_time_that_cannot_be_is_not_believed(written: str) -> None:
    """Before the call, after we heard of its end, or no time at all: then it ended when we were told."""
    hangup = caller_hangup({"EndTime": written}, call(), at(10), at(700))

    assert (hangup.ended_at, hangup.happened_at) == (None, at(700))


def test_an_end_within_the_calls_first_second_may_lie_before_it() -> None:
    """Whole seconds are rounded down."""
    began = at(10) + timedelta(milliseconds=700)
    assert caller_hangup({"EndTime": "2026-11-23 14:00:10"}, call(), began, at(12)).happened_at == at(12)


def test_the_carriers_own_amounts_of_each_leg_are_kept_to_the_last_digit() -> None:
    caller = caller_hangup({"TotalCost": "0.0123456789", "BillDuration": "120"}, call(), at(10), at(90))
    callee = dial_event(
        {"DialAction": "hangup", "DialBLegTotalCost": "0.00550", "DialBLegBillDuration": "60"}, call(), at(90)
    )
    assert isinstance(callee, Hangup)
    told = [hangup.carrier_charge for hangup in (caller, callee)]
    assert [each and (str(each.amount), each.billed_duration) for each in told] == [
        ("0.0123456789", 120), ("0.00550", 60),
    ]  # fmt: skip


@pytest.mark.parametrize("amount", ["", "-0.01", "NaN", "Infinity", "1e5", "0,01", "٠.٠١", "1" * 10, "0." + "1" * 13])
def test_what_is_no_amount_is_not_taken_for_one(amount: str) -> None:
    assert caller_hangup({"TotalCost": amount}, call(), at(10), at(90)).carrier_charge is None
