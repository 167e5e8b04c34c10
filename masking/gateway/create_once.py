"""One create, one session, also when it comes again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from aiohttp import web

from masking.client import OutcomeUnknown, SessionError
from masking.domain.session import Session
from masking.gateway.context import Context
from masking.gateway.errors import ApiError
from masking.gateway.session_errors import api_error
from masking.privacy.keyring import Keyring
from masking.storage import creates
from masking.storage.accounts import Principal
from masking.storage.creates import HeldCreate
from masking.storage.session_keys import OWN, NewKey, StoredPayloadKey

IDEMPOTENCY_KEY = "Idempotency-Key"
KEY_LENGTH = 255
LOOK_S = 0.1
"""Seconds between two looks whether a caller still waits."""


class NeverOpened(Exception):
    """The session with this id was refused after its caller had stopped waiting: there is none and will be none."""


class Create(NamedTuple):
    """What tells two creates apart: the caller's key, if there is one, and the body. Hashes only.

    Attributes:
        former_hash: of the key, as it was stored when these were hashed without a key of ours.
    """

    key_hash: bytes | None
    body_hash: bytes
    former_hash: bytes = b""

    @classmethod
    def from_request(cls, request: web.Request, keyring: Keyring, auth_id: str, body: object) -> Create:
        """Read them off a request.

        Raises:
            ApiError: 400, the key is too long or empty.
        """
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
        body_hash = keyring.lookup_hash("create body", f"{auth_id}:{canonical}")
        key = request.headers.get(IDEMPOTENCY_KEY)
        if key is None:
            return cls(None, body_hash)
        if not key or len(key) > KEY_LENGTH:
            raise ApiError(400, f"{IDEMPOTENCY_KEY} should have 1 to {KEY_LENGTH} characters.")
        said = f"{auth_id}:{key}".encode(errors="surrogateescape")
        # Callers choose it, and may make it of a phone number.
        return cls(keyring.lookup_hash("create key", said.hex()), body_hash, hashlib.sha256(said).digest())


async def create_once(
    context: Context,
    principal: Principal,
    wanted: Create,
    create: Callable[[str], Awaitable[Session]],
    *,
    is_waited_for: Callable[[], bool],
) -> Session:
    """Create the session that this request gives, unless an earlier try already did.

    Args:
        is_waited_for: whether the caller is there still, to hear the answer. One that is not, cannot know it, and may
            send the same again.
        create: creates the session with an id and reads it back; the same id again gives the same session.
            Raises `NeverOpened` where that one was refused.

    Raises:
        ApiError: 422, the key was used with another body; or what the session's refusal means.
    """
    while True:
        # Each round that ends so has forgotten one session; a fresh one does not end so.
        with suppress(NeverOpened):
            return await _once(context, principal, wanted, create, is_waited_for)


async def _once(
    context: Context,
    principal: Principal,
    wanted: Create,
    create: Callable[[str], Awaitable[Session]],
    is_waited_for: Callable[[], bool],
) -> Session:
    fresh, account_id = str(uuid.uuid4()), principal.account_id
    key = NewKey.of(fresh, context.keyring)
    if wanted.key_hash is None:
        async with context.creates.claimed(account_id, wanted.body_hash, fresh, key) as held:
            if held.session_uuid == fresh:
                context.keys.keep(fresh, StoredPayloadKey(key.cipher, OWN))
            async with _left_to_the_next(held, is_waited_for):
                session = await _created(context, held.session_uuid, create)
            if is_waited_for():
                await _forget(context, held.session_uuid)
            return session
    # In one round trip, which a create waits for.
    async with context.database.transaction() as connection, connection.pipeline():
        await creates.rename_key(connection, account_id, wanted.former_hash, wanted.key_hash)
        claim = await creates.claim_key(connection, account_id, wanted.key_hash, wanted.body_hash, fresh, key)
    if claim.session_uuid == fresh:
        context.keys.keep(fresh, StoredPayloadKey(key.cipher, OWN))
    if not claim.same_body:
        raise ApiError(422, f"This {IDEMPOTENCY_KEY} was used with another request body. Use a new key.")
    return await _created(context, claim.session_uuid, create)


@asynccontextmanager
async def _left_to_the_next(held: HeldCreate, is_waited_for: Callable[[], bool]) -> AsyncIterator[None]:
    """Let the session go as soon as its caller gives up: that one may send the same again while this is under way."""

    done = asyncio.Event()

    async def watch() -> None:
        while is_waited_for():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await done.wait()
                return
        await held.let_go()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        done.set()
        await watching


async def _created(context: Context, session_uuid: str, create: Callable[[str], Awaitable[Session]]) -> Session:
    try:
        return await create(session_uuid)
    except NeverOpened:
        await _forget(context, session_uuid)
        raise
    except SessionError as error:
        if not isinstance(error, OutcomeUnknown):
            # There is no session: the same request may try again.
            await _forget(context, session_uuid)
        raise api_error(error) from None


async def _forget(context: Context, session_uuid: str) -> None:
    async with context.database.transaction() as connection:
        await creates.forget(connection, session_uuid)
