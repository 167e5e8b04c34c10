"""What a fresh system needs before it can be tried: an account and some virtual numbers."""

from __future__ import annotations

from typing import NamedTuple

from masking.e164 import country_of
from masking.errors import StartupError
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.database import Database


class DemoAccount(NamedTuple):
    """The credentials of the demo account."""

    auth_id: str
    auth_token: str


def demo_account(settings: Settings, keyring: Keyring) -> DemoAccount:
    """The demo account's credentials.

    The token is `MASKING_DEMO_AUTH_TOKEN`, or one that follows from the keys: the same at
    every start, and stored nowhere in the clear.
    """
    given = settings.demo_auth_token
    token = given.get_secret_value() if given is not None else keyring.derived_token("demo account")
    return DemoAccount(settings.demo_auth_id, token)


async def provision_demo(settings: Settings, database_url: str, keyring: Keyring) -> DemoAccount:
    """Make the demo account and its numbers, where they are missing.

    Raises:
        StartupError: a number of `MASKING_DEMO_NUMBERS` is none, or PostgreSQL is not there.
    """
    account = demo_account(settings, keyring)
    numbers = [_with_country(number) for number in settings.demo_numbers]
    async with Database(database_url) as database, database.transaction() as connection:
        await ensure_account(connection, keyring, account.auth_id, account.auth_token)
        await ensure_numbers(connection, settings.demo_auth_id, numbers)
    return account


def _with_country(number: str) -> tuple[str, str]:
    country = country_of(number)
    if country is None:
        raise StartupError("MASKING_DEMO_NUMBERS: every number must be in E.164 and belong to a country")
    return number, country
