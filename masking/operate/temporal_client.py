"""A Temporal client for those who operate a system, which reads what belongs to any of its sessions."""

from __future__ import annotations

from contextlib import suppress

from temporalio.client import Client

from masking.errors import StartupError
from masking.operate.system import operated_database_url, with_keys_file
from masking.privacy.key_files import load_keyring
from masking.run.system import temporal_environment
from masking.settings import Settings
from masking.storage.database import Unpooled
from masking.storage.payload_keys import StoredPayloadKeys
from masking.temporal import connect, with_keys


async def operated_client(settings: Settings) -> Client:
    """Temporal as these settings, or the `masking run` that uses the data folder, have it.

    Raises:
        StartupError: it cannot be reached, or there are no keys.
    """
    keyring = load_keyring(with_keys_file(settings))
    client = await connect(keyring, environment=temporal_environment(settings))
    with suppress(StartupError):
        # Without its database only what is under the key ring can be read.
        database = Unpooled(operated_database_url(settings))
        client = with_keys(client, keyring, StoredPayloadKeys(database, keyring))
    return client
