"""Late events of the same sessions in the hands of two gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from temporalio.client import Client

from masking.domain.lifecycle import elapsed, settled
from masking.gateway import inbox_forwarder
from masking.gateway.inbox_forwarder import InboxForwarder
from masking.privacy.keyring import Keyring
from masking.storage import inbox, sessions
from masking.storage.database import Database
from masking.storage.inbox import WaitingEvent
from tests.domain.conversation import answered_call, call
from tests.storage.test_inbox import active, post

pytestmark = pytest.mark.anyio


async def test_two_gateways_with_late_events_of_the_same_sessions_wait_for_each_other_in_no_circle(
    database: Database, temporal: Client, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await active(database, keyring), await active(database, keyring, "+12025550111")
    for session in (one, two):
        final = settled(elapsed(session, session.expires_at).session, datetime.now(UTC)).session
        async with database.transaction() as connection:
            await sessions.settle_session(connection, keyring, final)
    for place, session in enumerate((one, two, one, two)):
        await post(database, keyring, session, answered_call(call(f"call-{place}"))[-1])

    both_have_some = asyncio.Barrier(4)

    class Gateway(InboxForwarder):
        async def _signal(self, waiting: Sequence[WaitingEvent]) -> bool:
            # Whoever comes last goes on first: the two have the sessions in another order.
            await both_have_some.wait()
            return False

        async def _took_late(self, *what: object) -> bool:
            took = await super()._took_late(*what)  # type: ignore[arg-type]
            await asyncio.sleep(0.2)
            return took

    monkeypatch.setattr(inbox_forwarder, "BATCH", 2)
    gateways = [Gateway(database, temporal, keyring) for _ in range(2)]
    assert await asyncio.gather(*(each.forward_batch() for each in gateways)) == [2, 2]
    async with database.transaction() as connection:
        assert len(await inbox.standing(connection, "late", 10)) == 4
