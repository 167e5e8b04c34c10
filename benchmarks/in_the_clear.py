"""A worker that encrypts nothing, to measure beside ours: `python -m benchmarks.in_the_clear`.

Only here: no setting of production switches encryption off. What is sealed elsewhere it writes as it is, to a database
and a task queue of its own. Look-up hashes stay, since routes are found by them.
"""

from __future__ import annotations

import asyncio
import dataclasses

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.plugin import SimplePlugin

from benchmarks.system import ACCOUNT, KEYRING, TOKEN
from masking.client import starting
from masking.lifeline import until_stopped
from masking.privacy import keyring, session_cipher
from masking.process import end
from masking.settings import load_settings
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.database import Database, database_url
from masking.temporal import connect
from worker import working

TASK_QUEUE = "in-the-clear"
NUMBERS = [(f"+120255502{n:02}", "US") for n in range(50)]


def _converter() -> DataConverter:
    return dataclasses.replace(
        pydantic_data_converter, failure_converter_class=DefaultFailureConverterWithEncodedAttributes
    )


def plugin() -> SimplePlugin:
    """Ours without the codec."""
    return SimplePlugin("in-the-clear", data_converter=_converter())


async def clear_client(address: str) -> Client:
    """A client whose payloads everybody can read."""
    return await Client.connect(address, plugins=[plugin()])


def _as_it_is(key: bytes, content: bytes, associated: bytes) -> bytes:
    del key, associated
    return content


def encrypt_nothing() -> None:
    """Seal and open nothing in this process from now on."""
    for module in (keyring, session_cipher):
        vars(module).update(seal=_as_it_is, unseal=_as_it_is)


async def _unchecked(client: Client, session_uuid: str) -> None:
    del client, session_uuid


def let_clients_write_in_the_clear() -> None:
    """Let `MaskingClient` start sessions in this process with any client from now on."""
    vars(starting).update(check_encryption=_unchecked)


async def serve() -> None:
    """Work until told to stop."""
    encrypt_nothing()
    settings = load_settings()
    address = (await connect(KEYRING)).service_client.config.target_host
    async with Database(database_url(settings)) as database:
        async with database.transaction() as connection:
            await ensure_account(connection, KEYRING, ACCOUNT, TOKEN)
            await ensure_numbers(connection, ACCOUNT, NUMBERS)
        async with working(await clear_client(address), database, KEYRING, settings, TASK_QUEUE, keyed=False):
            await until_stopped()


if __name__ == "__main__":
    end(asyncio.run(serve()))
