"""A host that vanishes says nothing: both ends of a connection find out by themselves, within seconds."""

from __future__ import annotations

from uuid import uuid4

import pytest

from masking.privacy.keyring import Keyring
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Connection, Database, Unpooled
from masking.storage.session_keys import NewKey
from tests.conftest import ACCOUNT

pytestmark = pytest.mark.anyio


def notices(connection: Connection) -> bool:
    """Whether our end gives a vanished server up after 10 s, and tells the server to do so with us."""
    ours = connection.info.get_parameters()
    probes = {"keepalives_idle": "4", "keepalives_interval": "2", "keepalives_count": "3"}
    servers = [f"tcp_{name}={value}" for name, value in probes.items()]
    return (probes | {"tcp_user_timeout": "10000"}).items() <= ours.items() and all(
        each in ours["options"] for each in [*servers, "tcp_user_timeout=10000"]
    )


async def test_no_connection_hangs_on_a_server_that_vanished_nor_keeps_locks_when_its_client_did(
    database: Database, migrated_url: str, keyring: Keyring
) -> None:
    async with database.transaction() as pooled, Unpooled(migrated_url).transaction() as single:
        assert notices(pooled)
        assert notices(single)

    uuid = str(uuid4())
    async with (
        UnansweredCreates(database, migrated_url) as creates,
        creates.claimed(ACCOUNT, b"body", uuid, NewKey.of(uuid, keyring)),
    ):
        assert creates._locks is not None
        assert notices(creates._locks)
