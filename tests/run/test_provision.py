"""The demo account's numbers follow it to another auth id."""

from __future__ import annotations

import psycopg
import pytest

from masking.privacy.keyring import Keyring
from masking.provision import provision_demo
from masking.settings import Settings
from masking.storage.database import Database

pytestmark = pytest.mark.anyio

NUMBERS = ("+12025550142", "+12025550143")


async def owners(database: Database) -> dict[str, str]:
    async with database.transaction() as connection:
        rows = await connection.execute(
            "SELECT number, account_id FROM numbers WHERE number = ANY(%s)", (list(NUMBERS),)
        )
        return {str(number): str(account) for number, account in await rows.fetchall()}


def hold(url: str, seconds: int) -> None:
    """Let a session hold the second number, live for so many seconds more."""
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM routes")
        connection.execute(
            "INSERT INTO routes (virtual_number, caller_hash, session_uuid, side, expires_at, held_until)"
            " VALUES (%s, '\\x01', 'a-session', 'first', now() + %s * interval '1 s', now() + interval '1 hour')",
            (NUMBERS[1], seconds),
        )


async def test_numbers_move_to_the_new_demo_account_unless_a_session_lives_on_them(
    database: Database, migrated_url: str, keyring: Keyring
) -> None:
    said: list[str] = []

    async def provision(auth_id: str) -> None:
        await provision_demo(Settings(demo_auth_id=auth_id, demo_numbers=NUMBERS), migrated_url, keyring, said.append)

    old, new = "MAOLD000000000000000", "MANEW000000000000000"
    await provision(old)
    hold(migrated_url, seconds=60)
    await provision(new)
    assert await owners(database) == {NUMBERS[0]: new, NUMBERS[1]: old}
    assert said == ["1 of MASKING_DEMO_NUMBERS stay with another account until the sessions on them have ended"]

    hold(migrated_url, seconds=-1)
    await provision(new)
    assert await owners(database) == dict.fromkeys(NUMBERS, new)
    assert len(said) == 1
