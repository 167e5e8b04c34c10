"""Erases sessions that have been kept long enough, and the keys that nothing is under any more, in the workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

import psycopg
from temporalio.client import Client
from temporalio.service import RPCError

from masking.erasure.erasing import erase_all
from masking.lookout import alongside
from masking.privacy.keyring import Keyring
from masking.storage.database import Database
from masking.storage.erasure import alone, overdue
from masking.storage.ingress_keys import destroy_unneeded
from masking.storage.session_keys import forget_unopened

BATCH = 100
LOOK_EVERY_S = 600.0

logger = logging.getLogger(__name__)


class Swept(NamedTuple):
    """What a sweep did: how many were erased, and how many Temporal has yet to delete its copies of."""

    erased: int = 0
    left: int = 0


async def sweep(database: Database, keyring: Keyring, client: Client, keep_for: timedelta) -> Swept | None:
    """Erase what has been kept long enough, batch by batch, and finish what was begun before.

    Holds, and sessions whose parties are still kept from others, are passed over. Then the ingress keys are destroyed
    of days of which no session is left, and the keys of sessions that were refused as long ago.

    Args:
        keep_for: how long a session is kept after its bill was closed.

    Returns:
        None if another process is at it.
    """

    async def temporal() -> Client:
        return client

    done = Swept()
    async with database.transaction() as guard:
        if not await alone(guard):
            return None
        while True:
            async with database.transaction() as connection:
                due = await overdue(connection, keep_for, BATCH)
            outcomes = await erase_all(database, keyring, due, temporal)
            erased = sum(each.certificate is not None for each in outcomes)
            done = Swept(done.erased + erased, len(due) - erased)
            # What is left is tried again at the next sweep: Temporal may be away.
            if done.left or len(due) < BATCH:
                break
        await _destroy_keys(database, keep_for)
        return done


async def _destroy_keys(database: Database, keep_for: timedelta) -> None:
    async with database.transaction() as connection:
        days = await destroy_unneeded(connection, keep_for)
        never_opened = await forget_unopened(connection, keep_for)
    if days or never_opened:
        logger.info(
            "retention: the ingress keys of %d days and the keys of %d sessions that never opened were destroyed",
            len(days),
            never_opened,
        )


@asynccontextmanager
async def retaining(
    database: Database, keyring: Keyring, client: Client, keep_for: timedelta | None
) -> AsyncIterator[None]:
    """Erase while the context lasts what has been kept long enough; nothing when `keep_for` is None.

    A sweep that is under way at the end is left; the next one finishes it.
    """
    if keep_for is None:
        yield
        return
    async with alongside(_sweep_again_and_again(database, keyring, client, keep_for)):
        yield


async def _sweep_again_and_again(database: Database, keyring: Keyring, client: Client, keep_for: timedelta) -> None:
    while True:
        try:
            swept = await sweep(database, keyring, client, keep_for)
        except (psycopg.Error, RPCError) as error:
            logger.warning("retention: nothing could be erased (%s); it is tried again", type(error).__name__)
        else:
            if swept is not None and swept.erased:
                logger.info("retention: %d sessions were erased", swept.erased)
            if swept is not None and swept.left:
                logger.warning("retention: Temporal has yet to delete its copies of %d erased sessions", swept.left)
        await asyncio.sleep(LOOK_EVERY_S)
