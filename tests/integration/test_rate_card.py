"""A rate card, from the file to the ledger: the API, callbacks, calls' resources and the books tell the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from masking.domain.bill.ledger import LedgerEntry, sums_by_currency
from masking.storage.database import Database
from masking.storage.ledger import PostedEntry, ledger_of
from tests.conftest import ACCOUNT
from tests.integration.conftest import Receiver, System
from tests.integration.reported_calls import whole_call
from tests.integration.telephone import Telephone, heard, speed, telephone
from tests.integration.test_switchboard import FIRST, SECOND, conversations, create, expire, resource

__all__ = ["speed", "telephone"]
pytestmark = pytest.mark.anyio

CARD = """
currency = "USD"
[[session_fee]]
fee = 1.25
[[customer]]
per_minute = 0.01
direction = "inbound"
[[customer]]
per_minute = 0.02
direction = "outbound"
increments = "30/6"
connection_fee = 0.003
[[cost]]
per_minute = 0.004
"""


@pytest.fixture
def more_settings(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "card.toml"
    path.write_text(CARD)
    return {"rate_card": path}


async def posted(database: Database, session: dict[str, Any]) -> list[PostedEntry]:
    async with database.transaction() as connection:
        return await ledger_of(connection, session["session_uuid"])


def told(entries: Sequence[LedgerEntry]) -> set[tuple[str, str, str]]:
    return {(entry.kind, entry.leg, str(entry.amount)) for entry in entries}


async def test_a_call_costs_what_the_card_says_wherever_it_is_told(system: System, receiver: Receiver) -> None:
    session = await create(system, receiver)
    call_uuid = str(uuid4())
    assert (session["amount"], session["total_session_amount"]) == (1, 1.25)

    await whole_call(system, session, call_uuid)
    hangup = await heard(receiver, "SessionPartiesHangup")

    # 65 s inbound: 2 × 0.01. 61 s outbound: 30 + 6 × 6 = 66 s, 0.022, and 0.003.
    assert (hangup["Amount"], hangup["BilledDuration"]) == ("0.04500", "186")
    shown = await resource(system, session)
    (interaction,) = await conversations(system, session)
    assert shown["total_call_amount"] == interaction["total_call_amount"] == 0.045
    assert shown["total_session_amount"] == 1.295
    legs = {}
    for uuid in (call_uuid, f"{call_uuid}-b"):
        leg = (await system.http.get(f"{system.settings.base_url}/v1/Account/{ACCOUNT}/Call/{uuid}/")).json()
        legs[leg["call_direction"]] = (leg["total_rate"], leg["total_amount"], leg["billed_duration"])
    assert legs == {"inbound": ("0.01000", "0.02000", 120), "outbound": ("0.02000", "0.02500", 66)}

    final = await expire(system, session)
    assert final.total_amount == Decimal("1.295")
    entries = await posted(system.database, session)
    assert told(entries) == {
        ("fee", "", "1.25"),
        ("charge", "caller", "0.02000"), ("charge", "callee", "0.02500"),
        # Its webhooks told no cost: twice two minutes by the card.
        ("cost", "caller", "0.00800"), ("cost", "callee", "0.00800"),
    }  # fmt: skip
    assert {entry.leg_uuid for entry in entries if entry.leg} == {call_uuid, f"{call_uuid}-b"}
    assert {entry.cause for entry in entries} == {
        "settlement", f"{call_uuid}:caller:hangup", f"{call_uuid}:callee:hangup",
    }  # fmt: skip


async def test_a_call_that_we_make_is_outbound_on_both_legs_and_the_carriers_own_amounts_are_its_cost(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver, initiate_call_to_first_party=True)
    await telephone.phones.wait_for(SECOND, "talking")
    await asyncio.sleep(0.2)
    await telephone.phones.hang_up(FIRST)
    await heard(receiver, "SessionPartiesHangup")
    final = await expire(system, session)
    (call,) = await telephone.phones.calls()
    assert call.callee is not None

    lasted = {"caller": call.caller.duration, "callee": call.callee.duration}
    assert min(lasted.values()) > 0
    billed = {leg: 30 + 6 * -(-max(0, seconds - 30) // 6) for leg, seconds in lasted.items()}
    amounts = {leg: Decimal("0.02") * seconds / 60 + Decimal("0.003") for leg, seconds in billed.items()}
    entries = await posted(system.database, session)
    assert {e.leg: e.amount for e in entries if e.kind == "charge"} == amounts
    # The simulator takes 0.005 a started minute, and the card says 0.004: what the carrier tells goes first.
    costs = {leg: Decimal("0.005") * -(-seconds // 60) for leg, seconds in lasted.items()}
    assert {e.leg: e.amount for e in entries if e.kind == "cost"} == costs
    sums = sums_by_currency(entries)["USD"]
    assert (sums.calls, sums.fee) == (final.calls.amount, final.session_amount)
