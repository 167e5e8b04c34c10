"""What is killed while sessions run changes nothing about them. `make chaos` for 200 sessions and 40 kills."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from masking.carriers.hangup_causes import NORMAL_HANGUP
from masking.carriers.simulator.records import CallRecord, Leg
from masking.domain.bill.charges import Bill, Charge
from tests.processes.killed import report_of
from tests.processes.killed_plan import plan
from tests.processes.killed_truth import Ran, differences, expected, faults
from tests.processes.killed_world import Lived, Told

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.processes
@pytest.mark.timeout(700)
def test_sessions_bills_and_callbacks_are_those_of_an_undisturbed_run() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201

    report = report_of(seed, sessions=12, kills=4, gap=4.0, say=print, short=True)

    assert report.differences == []
    assert report.calls == 24


def test_a_seed_stands_for_one_plan() -> None:
    assert plan(7, 12, 4, 4.0, short=False) == plan(7, 12, 4, 4.0, short=False)
    assert plan(7, 12, 4, 4.0, short=False) != plan(8, 12, 4, 4.0, short=False)


def leg(number: str) -> Leg:
    times = {"began_at": NOW, "answered_at": NOW, "ended_at": NOW + timedelta(seconds=20)}
    return Leg(leg_uuid=f"leg of {number}", number=number, screen=None, connected=True, cause=NORMAL_HANGUP, **times)


def a_run() -> Ran:
    """A right one: one session, one call."""
    ride = next(ride for ride in plan(1, 2, 0, 4.0, short=True).rides if ride.kind == "busy")
    record = CallRecord(
        call_uuid="call",
        direction="inbound",
        from_number=ride.first.removeprefix("+"),
        to_number="12025550142",
        caller=leg(ride.first),
        callees=[leg(ride.second)],
    )
    charge = Charge(call_count=2, duration=40, billed_duration=120, amount=Decimal("0.017"))
    shown: dict[str, Any] = {
        "duration": 40, "call_billed_duration": 120, "total_call_amount": 0.017, "total_call_count": 2,
        "first_party_resource_url": "https://x.example/Call/call",
    }  # fmt: skip
    totals = {"total_call_count": 2, "total_call_billed_duration": 120, "total_call_amount": 0.017}
    bill = Bill(
        session_uuid="s", account_id="a", currency="USD", calls=charge, session_amount=Decimal(0), duration=60,
        last_interaction_time=None, settled_at=NOW,
    )  # fmt: skip
    lived = Lived(ride, "s", attempts=[record], made=[record], bill=bill)
    lived.final = {"status": "expired", "record": False, "interaction": [shown], **totals}
    callbacks = [*expected(lived, record), {"EventName": "SessionTimeout"}]
    told = {f"s:session:{n}": Told({**params, "SequenceNumber": str(n)}) for n, params in enumerate(callbacks, start=1)}
    return Ran([lived], {"s": told}, {"sessions": 1, "callbacks": len(told), "dead callbacks": 0}, listed=1)


def test_two_right_runs_have_no_faults_and_do_not_differ() -> None:
    assert list(faults(a_run())) == []
    assert list(differences(a_run(), a_run())) == []


def _pop(ran: Ran) -> None:
    ran.told["s"].popitem()
    ran.counts["callbacks"] -= 1


def _callback(ran: Ran, **params: str) -> None:
    told = next(each for each in ran.told["s"].values() if "Amount" in each.params)
    told.params |= params


WRONG: dict[str, Callable[[Ran], object]] = {
    "a callback is missing": _pop,
    "a callback tells another amount": lambda ran: _callback(ran, Amount="0.017"),
    "a callback tells other seconds": lambda ran: _callback(ran, Duration="21"),
    "a sequence has a gap": lambda ran: _callback(ran, SequenceNumber="99"),
    "a callback changed": lambda ran: setattr(ran.told["s"]["s:session:1"], "changed", True),
    "a callback is dead": lambda ran: ran.counts.update({"dead callbacks": 1}),
    "a session more": lambda ran: ran.counts.update(sessions=2),
    "a number is on disk": lambda ran: ran.on_disk.append("11 characters in postgres.log"),
    "it is listed twice": lambda ran: setattr(ran, "listed", 2),
    "it goes on": lambda ran: ran.sessions[0].final.update(status="active"),
    "it was never settled": lambda ran: setattr(ran.sessions[0], "bill", None),
    "its call is lost": lambda ran: ran.sessions[0].final.update(interaction=None),
    "its call costs more": lambda ran: ran.sessions[0].final["interaction"][0].update(total_call_amount=0.0255),
    "it connected a call after its end": lambda ran: ran.sessions[0].late.append(ran.sessions[0].made[0]),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_found(wrong: Callable[[Ran], object]) -> None:
    ran = a_run()
    wrong(ran)
    assert list(faults(ran))


def test_another_session_object_is_a_difference() -> None:
    ran = a_run()
    ran.sessions[0].final["record"] = True
    assert list(differences(a_run(), ran))
