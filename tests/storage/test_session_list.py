"""The list of all accounts' sessions: each page is found by an index of each account, however many are kept."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import tuple_row

from masking.privacy.keyring import Keyring
from masking.storage.accounts import Principal
from masking.storage.session_list import Bound, SessionFilter, list_every_session, place_after

pytestmark = pytest.mark.anyio

MANY = """
INSERT INTO accounts (auth_id) SELECT 'MA' || lpad(n::text, 18, '0') FROM generate_series(1, 3) n;
INSERT INTO accounts (auth_id, parent_id) VALUES ('SA000000000000000001', 'MA000000000000000001');
INSERT INTO sessions (session_uuid, account_id, subaccount_id, virtual_number, phase, status, created_at, modified_at,
    expires_at, duration, first_party_hash, second_party_hash, key_id, wrapped_key, sealed_terms, sealed_session,
    version)
SELECT gen_random_uuid(), 'MA' || lpad((1 + n % 3)::text, 18, '0'),
    CASE WHEN n % 15 = 0 THEN 'SA000000000000000001' END, '+1202555' || lpad((n % 40)::text, 4, '0'), 'settled',
    'expired', made, made, made + interval '3 days', 259200, sha256(('first' || n % 300)::bytea),
    sha256(('second' || n % 300)::bytea), 'k1', '', '', repeat('sealed', 100)::bytea, 1
FROM (SELECT n, now() - n * interval '1 minute' AS made FROM generate_series(1, 6000) n) every;
ANALYZE accounts, sessions;
"""
OWNER, SUBACCOUNT = "MA000000000000000001", "SA000000000000000001"
NOW = datetime.now(UTC)
DAY = (Bound("created_at", ">=", NOW - timedelta(days=2)), Bound("created_at", "<", NOW - timedelta(days=1)))
PAGES = [
    (None, SessionFilter(), None, {"sessions_by_account"}),
    (None, SessionFilter(status="expired"), None, {"sessions_by_account"}),
    (None, SessionFilter(bounds=DAY), None, {"sessions_by_account"}),
    (None, SessionFilter(virtual_number="+12025550007"), None, {"sessions_by_number"}),
    (None, SessionFilter(), "+12025551000", {"sessions_by_first_party", "sessions_by_second_party"}),
    (Principal(OWNER, None), SessionFilter(), None, {"sessions_by_account"}),
    (Principal(OWNER, SUBACCOUNT), SessionFilter(), None, {"sessions_by_subaccount"}),
]


class Explaining(AsyncCursor[Any]):
    """Asks how a query would be carried out."""

    async def execute(self, query: Any, params: Any = None, **_: object) -> Self:
        self.row_factory = tuple_row
        return await super().execute(f"EXPLAIN (FORMAT JSON) {query}", params)


async def test_a_page_is_found_in_the_order_of_an_index_of_each_account(own_url: str, keyring: Keyring) -> None:
    async with await AsyncConnection.connect(own_url) as connection:
        await connection.execute(MANY)
        newest = await list_every_session(connection, keyring, None, SessionFilter(), None, None, 100)
        place = await place_after(connection, newest[-1].session_uuid)
        connection.cursor_factory = Explaining
        for owner, wanted, party, indexes in PAGES:
            for after in (None, place):
                found = await list_every_session(connection, keyring, owner, wanted, party, after, 50)
                plan = json.dumps(found)
                assert set(re.findall(r'"Index Name": "(sessions_by_\w+)"', plan)) == indexes, (wanted, party)
                assert not re.search(r'"Node Type": "Seq Scan"[^{}]*"Relation Name": "sessions"', plan)
                # Of each account only a page is read, however many it has.
                assert plan.count('"Node Type": "Limit"') >= len(indexes)
