"""An instance that has Plivo mask. Plivo is a second instance of ours, `system`, with the telephone bench behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr
from temporalio.client import Client

from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage.accounts import ensure_account
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database
from masking.storage.migrate import migrate
from tests.conftest import ACCOUNT, TOKEN, Tables
from tests.integration.conftest import CARRIER_TOKEN, Receiver, System, free_port, served
from worker import working

FIRST, SECOND = "+12025550101", "+12025550102"
CARRIER_MADE = {"session_uuid", "callback_url", "recording_callback_url"}
"""Each side has its own."""


@pytest.fixture(scope="session")
def fronts_url(postgres_url: str) -> str:
    """A database of the instance that has Plivo mask."""
    with psycopg.connect(postgres_url, autocommit=True) as connection, suppress(psycopg.errors.DuplicateDatabase):
        # Another test file has made it.
        connection.execute("CREATE DATABASE front")
    url = postgres_url.replace("/postgres?", "/front?")
    assert url != postgres_url
    migrate(url)
    return url


@pytest.fixture
async def front(system: System, fronts_url: str, keyring: Keyring, temporal: Client) -> AsyncIterator[System]:
    """The instance that has Plivo mask; Plivo is `system`, which has the numbers and the telephone network."""
    with closing(Tables(fronts_url)) as tables:
        tables.empty()
    settings = Settings(
        port=free_port(),
        carrier="plivo",
        carrier_auth_token=SecretStr(CARRIER_TOKEN),
        plivo_api_url=system.settings.base_url,
        plivo_auth_id=ACCOUNT,
        plivo_auth_token=SecretStr(TOKEN),
        recording_wait=5,
        request_limit=0,
        callback_allowed_networks=(ip_network("127.0.0.0/8"),),
    )
    queue = f"front-{uuid4()}"
    async with Database(fronts_url, size=8) as database, UnansweredCreates(database, fronts_url) as creates:
        async with database.transaction() as connection:
            await ensure_account(connection, keyring, ACCOUNT, TOKEN)
        async with (
            working(temporal, database, keyring, settings, queue),
            served(database, keyring, temporal, creates, settings, queue) as front,
        ):
            yield front


async def created(front: System, receiver: Receiver, **more: object) -> dict[str, Any]:
    body = {
        "first_party": FIRST,
        "second_party": SECOND,
        "callback_url": receiver.url,
        "recording_callback_url": receiver.url,
        **more,
    }
    answer = await front.http.post(f"{front.api}/", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()["session"]
    return made


async def shown(system: System, uuid: str) -> dict[str, Any]:
    resource: dict[str, Any] = (await system.http.get(f"{system.api}/{uuid}/")).json()["response"]
    return resource


async def counterpart_of(system: System, status: str = "all") -> dict[str, Any]:
    """The one session at Plivo."""
    answer = (await system.http.get(f"{system.api}/?status={status}")).json()["response"]
    (found,) = answer["objects"]
    del found["resource_uri"]
    return dict(found)


def comparable(resource: dict[str, Any], system: System) -> dict[str, Any]:
    """A session without what each side has of its own; the ids of legs and recordings are Plivo's on both."""
    text = json.dumps({key: value for key, value in resource.items() if key not in CARRIER_MADE})
    compared: dict[str, Any] = json.loads(text.replace(system.settings.base_url, "https://here"))
    return compared
