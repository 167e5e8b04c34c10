"""A number that a carrier chose is handed out only where neither party reaches somebody else on it, by our books."""

from __future__ import annotations

from uuid import uuid4

import pytest

from masking.carriers.plivo.session_resource import read_session
from masking.domain.counterpart.following import opened_at_carrier
from masking.domain.lifecycle import requested
from masking.domain.session import REVISION, Session
from masking.privacy.keyring import Keyring
from masking.storage.database import Database
from masking.storage.opening import Opening, open_session, open_with_number
from tests.carriers.plivo.truth import Truth
from tests.domain.conversation import FIRST, SECOND, STRANGER, request

pytestmark = pytest.mark.anyio

OTHERS = "+12025550666"


async def masked_by_plivo(database: Database, number: str, first: str, second: str) -> Session:
    async with database.transaction() as connection:
        (now,) = await (await connection.execute("SELECT now()")).fetchone() or (None,)
    terms = request().terms.model_copy(update={"first_party": first, "second_party": second})
    asked = request().model_copy(update={"session_uuid": str(uuid4()), "carrier": "plivo", "terms": terms})
    told = read_session(Truth([], now, expired=False).resource() | {"virtual_number": number})  # type: ignore[arg-type]
    return opened_at_carrier(requested(asked, now), told, REVISION).session  # type: ignore[arg-type]


async def open_(database: Database, keyring: Keyring, session: Session) -> bool:
    async with database.transaction() as connection:
        return await open_with_number(connection, keyring, session) is not None


async def test_a_number_that_plivo_names_is_refused_where_a_party_is_somebody_elses(
    database: Database, keyring: Keyring
) -> None:
    voice = request().model_copy(update={"session_uuid": str(uuid4())})
    beginning = (await masked_by_plivo(database, OTHERS, FIRST, SECOND)).created_at
    async with database.transaction() as connection:
        ours = await open_session(connection, keyring, requested(voice, beginning), None)
    assert isinstance(ours, Opening)

    assert not await open_(database, keyring, await masked_by_plivo(database, ours.virtual_number, FIRST, STRANGER))
    assert not await open_(database, keyring, await masked_by_plivo(database, ours.virtual_number, STRANGER, SECOND))

    session = await masked_by_plivo(database, OTHERS, FIRST, STRANGER)
    assert await open_(database, keyring, session)
    # The same again changes nothing; of two that Plivo masks, too, only one has a party on a number.
    assert await open_(database, keyring, session)
    assert not await open_(database, keyring, await masked_by_plivo(database, OTHERS, STRANGER, SECOND))
