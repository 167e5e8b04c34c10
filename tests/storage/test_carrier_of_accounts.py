"""Who masks an account's sessions: whom it names, else its main account, else the settings."""

from __future__ import annotations

import pytest

from masking.privacy.keyring import Keyring
from masking.storage.accounts import AccountError, carrier_of, create_account, list_accounts, set_carrier
from masking.storage.database import Database
from tests.conftest import ACCOUNT

pytestmark = pytest.mark.anyio


async def test_a_subaccount_has_its_own_carrier_or_that_of_its_main_account(
    database: Database, keyring: Keyring
) -> None:
    async with database.transaction() as connection:
        sub = (await create_account(connection, keyring, parent_id=ACCOUNT)).auth_id
        assert await carrier_of(connection, sub, ACCOUNT) is None

        await set_carrier(connection, ACCOUNT, "plivo")
        assert await carrier_of(connection, ACCOUNT, ACCOUNT) == "plivo"
        assert await carrier_of(connection, sub, ACCOUNT) == "plivo"

        await set_carrier(connection, sub, "voice")
        assert await carrier_of(connection, sub, ACCOUNT) == "voice"
        assert [account.carrier for account in await list_accounts(connection)] == ["plivo", "voice"]

        await set_carrier(connection, ACCOUNT, None)
        assert await carrier_of(connection, ACCOUNT, ACCOUNT) is None
        with pytest.raises(AccountError):
            await set_carrier(connection, "MANOSUCHACCOUNT00000", "plivo")
