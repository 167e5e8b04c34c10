"""The list of ingress keys: however many days and sessions there are, each session is looked at once."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from masking.privacy.keyring import Keyring
from masking.storage.database import Database
from masking.storage.ingress_keys import LISTED, list_ingress_keys, make_ahead
from tests.storage.test_inbox import active

pytestmark = pytest.mark.anyio

FIRST_DAY = date(2026, 9, 1)


async def lived(database: Database, keyring: Keyring, begun: datetime, closed: datetime | None) -> None:
    session = await active(database, keyring)
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE sessions SET created_at = %s, settled_at = %s WHERE session_uuid = %s",
            (begun, closed, session.session_uuid),
        )


async def test_a_session_counts_for_the_days_on_which_it_may_have_been_told_of(
    database: Database, keyring: Keyring
) -> None:
    """From the day before it began to the day after its bill was closed; an open one for every later day."""
    await lived(database, keyring, datetime(2026, 9, 4, tzinfo=UTC), datetime(2026, 9, 5, 23, 59, 59, tzinfo=UTC))
    await lived(database, keyring, datetime(2026, 9, 6, 23, 59, 59, 999999, tzinfo=UTC), None)
    async with database.transaction() as connection:
        await make_ahead(connection, keyring, 10, FIRST_DAY)
        found = await list_ingress_keys(connection)
        (one,) = await list_ingress_keys(connection, date(2026, 9, 6))
    assert [key.day - FIRST_DAY for key in found] == [timedelta(days=day) for day in range(10)]
    assert [(key.open, key.kept) for key in found] == [
        (0, 0), (0, 0), (0, 1), (0, 1), (1, 2), (1, 2), (1, 1), (1, 1), (1, 1), (1, 1),
    ]  # fmt: skip
    assert one == found[5]


async def test_sessions_are_looked_at_once_for_all_days(database: Database, keyring: Keyring) -> None:
    await active(database, keyring)
    async with database.transaction() as connection:
        await make_ahead(connection, keyring, 50, FIRST_DAY)
        explained = await connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {LISTED}", {"day": None})
        ((plan,),) = await explained.fetchall()
    assert sum(_looks(json.loads(json.dumps(plan))[0]["Plan"])) == 1


def _looks(node: dict[str, Any]) -> list[int]:
    own = [int(node["Actual Loops"])] if node.get("Relation Name") == "sessions" else []
    return own + [loops for each in node.get("Plans", []) for loops in _looks(each)]
