"""What a fresh system needs before it can be tried: an account and some virtual numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from masking.e164 import country_of
from masking.errors import StartupError
from masking.privacy.keyring import Keyring, Unreadable
from masking.settings import Settings
from masking.storage import key_checks
from masking.storage.accounts import auth_tokens, ensure_account, ensure_numbers, ensure_token, move_numbers
from masking.storage.database import Connection, Database


class DemoAccount(NamedTuple):
    """The credentials of the demo account."""

    auth_id: str
    auth_token: str


def demo_account(settings: Settings, keyring: Keyring) -> DemoAccount:
    """The credentials that the demo account is made with.

    The token is `MASKING_DEMO_AUTH_TOKEN`, or one that follows from the keys: the same on
    every machine that has them, and stored nowhere in the clear.
    """
    given = settings.demo_auth_token
    token = given.get_secret_value() if given is not None else keyring.derived_token("demo account")
    return DemoAccount(settings.demo_auth_id, token)


async def provision_demo(
    settings: Settings, database_url: str, keyring: Keyring, say: Callable[[str], None]
) -> DemoAccount:
    """Make the demo account and its numbers, where they are missing, and take the numbers over from other accounts.

    An account that exists keeps its tokens, so that one that was rotated away stays so. Only
    `MASKING_DEMO_AUTH_TOKEN` is made valid at every start, beside the others.

    Args:
        say: told, in a few words, of numbers that cannot be taken over yet.

    Returns:
        The account with a token that is valid.

    Raises:
        StartupError: a number of `MASKING_DEMO_NUMBERS` is none, PostgreSQL is not there, or it
            holds what these keys cannot read.
    """
    account = demo_account(settings, keyring)
    numbers = [_with_country(number) for number in settings.demo_numbers]
    async with Database(database_url) as database:
        await key_checks.must_fit(database, keyring)
        async with database.transaction() as connection:
            await ensure_account(connection, keyring, account.auth_id, account.auth_token)
            await ensure_numbers(connection, settings.demo_auth_id, numbers)
            stay = await move_numbers(connection, settings.demo_auth_id, settings.demo_numbers)
            if stay:
                say(f"{stay} of MASKING_DEMO_NUMBERS stay with another account until the sessions on them have ended")
            if settings.demo_auth_token is not None:
                await ensure_token(connection, keyring, account.auth_id, account.auth_token)
            return await provisioned_demo_account(settings, connection, keyring)


async def provisioned_demo_account(settings: Settings, connection: Connection, keyring: Keyring) -> DemoAccount:
    """The demo account of a system that runs, with `MASKING_DEMO_AUTH_TOKEN` if that is set, else its newest token.

    Raises:
        StartupError: the database holds what these keys cannot read.
    """
    account = demo_account(settings, keyring)
    if settings.demo_auth_token is not None:
        return account
    try:
        tokens = await auth_tokens(connection, keyring, account.auth_id)
    except Unreadable:
        raise StartupError("MASKING_KEYS: the database was made with other keys; use those") from None
    return account._replace(auth_token=tokens[0]) if tokens else account


def _with_country(number: str) -> tuple[str, str]:
    country = country_of(number)
    if country is None:
        raise StartupError("MASKING_DEMO_NUMBERS: every number must be in E.164 and belong to a country")
    return number, country
