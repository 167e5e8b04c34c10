"""Taking a session over: the run that was lost writes no more, and what its state lacks is told again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError

from activities.carrier import CallFirstParty, CarrierActivities
from activities.sessions import ChangeParties, RecordSession, SessionActivities
from masking.domain.decisions import placed_call
from masking.domain.lifecycle import elapsed, settled
from masking.domain.resuming import resumed
from masking.domain.session import Session
from masking.domain.terms import Change
from masking.errors import Superseded
from masking.privacy.keyring import Keyring
from masking.storage import inbox, resuming, sessions
from masking.storage.accounts import Principal
from masking.storage.call_routes import find_first_party, find_route
from masking.storage.calls import claim_first_call, note_call
from masking.storage.database import Database
from masking.storage.resuming import TakenOver, take_over
from masking.storage.routes import change_parties
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, answered_call, call, declined_call, hear
from tests.storage.test_inbox import active, claimed, post
from tests.storage.test_routes import record

pytestmark = pytest.mark.anyio


async def taken(database: Database, keyring: Keyring, uuid: str) -> TakenOver:
    async with database.transaction() as connection:
        found = await take_over(connection, keyring, uuid)
    assert found is not None
    return found


async def stored(database: Database, keyring: Keyring, session: Session) -> tuple[Session | None, int]:
    """The state of a session, and how many callbacks are queued."""
    async with database.transaction() as connection:
        found = await sessions.read_session(connection, keyring, Principal(ACCOUNT, None), session.session_uuid)
        counted = await connection.execute("SELECT count(*)::integer FROM callbacks")
        row = await counted.fetchone()
    assert row is not None
    return found, int(str(row[0]))


async def test_nothing_that_a_lost_run_still_writes_gets_in_between(database: Database, keyring: Keyring) -> None:
    session = await active(database, keyring)
    events = answered_call(call())
    before = hear(session, events[:2])
    await record(database, keyring, before.session, *before.callbacks)
    ahead = hear(before.session, events[2:])
    over = elapsed(ahead.session, session.expires_at).session
    goes_on = (await taken(database, keyring, session.session_uuid)).session
    assert goes_on == resumed(before.session, goes_on.resumed[0])
    held = await stored(database, keyring, session)

    lost = SessionActivities(database, keyring)
    single = Change(second_party="+12025550111").applied_to(session.terms.model_copy(update={"single_party": True}))
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: lost.record_session(RecordSession(session=ahead.session, callbacks=ahead.callbacks)),
        # As the very version that the run that goes on has.
        lambda: lost.record_session(
            RecordSession(
                session=ahead.session.model_copy(update={"version": goes_on.version}), callbacks=ahead.callbacks
            )
        ),
        lambda: lost.record_session(RecordSession(session=over, settle_at=over.expires_at)),
        lambda: lost.settle_session(RecordSession(session=settled(over, over.expires_at).session)),
        lambda: lost.change_parties(ChangeParties(session=ahead.session, terms=single)),
    ]
    for write in writes:
        with pytest.raises(ApplicationError, match="resumed in another run") as refusal:
            await write()
        assert refusal.value.non_retryable
    assert await stored(database, keyring, session) == held == (goes_on, 2)
    async with database.transaction() as connection:
        assert await resuming.standing(connection, session.session_uuid) == "open"

    # The run that goes on writes as ever, under the numbers that the lost one would have used.
    after = hear(goes_on, events[2:])
    assert await record(database, keyring, after.session, *after.callbacks)
    assert await stored(database, keyring, session) == (after.session, len(before.callbacks) + len(after.callbacks))


async def test_a_write_that_is_under_way_comes_before_or_not_at_all(database: Database, keyring: Keyring) -> None:
    session = await active(database, keyring)
    step, later = hear(session, answered_call(call())[:2]), hear(session, answered_call(call())[:3])
    async with database.transaction() as writing:
        await sessions.record_session(writing, keyring, step.session, step.callbacks)
        taking = asyncio.create_task(taken(database, keyring, session.session_uuid))
        await asyncio.sleep(0.1)
        assert not taking.done()
    goes_on = (await taking).session
    assert goes_on == resumed(step.session, goes_on.resumed[0])

    async with database.transaction() as connection:
        again = await take_over(connection, keyring, session.session_uuid)
        lost = asyncio.create_task(record(database, keyring, later.session, *later.callbacks))
        newer = asyncio.create_task(record(database, keyring, hear(goes_on, answered_call(call())[2:]).session))
        await asyncio.sleep(0.1)
        assert not newer.done()
    for write in (lost, newer):
        with pytest.raises(Superseded):
            await write
    assert again is not None
    assert await stored(database, keyring, session) == (again.session, len(step.callbacks))


async def test_only_what_its_state_lacks_is_told_again_and_what_waits_as_well(
    database: Database, keyring: Keyring
) -> None:
    session, other = await active(database, keyring), await active(database, keyring, "+12025550111")
    events = [*answered_call(call()), declined_call("late")]
    await post(database, keyring, session, *events)
    await post(database, keyring, other, *answered_call(call("other"))[:2])
    async with database.transaction() as connection:
        await inbox.mark_forwarded(connection, [each.id for each in await inbox.claim(connection, keyring, 50)][:-3])
        waiting = [each.event.event_id for each in await inbox.claim(connection, keyring, 50)]
    assert waiting == ["late:declined", "other:caller:answer", "other:callee:ring"]
    known = hear(session, events[:3])
    await record(database, keyring, known.session, *known.callbacks)

    assert (await taken(database, keyring, session.session_uuid)).again == 5
    assert {each.session_uuid for each in await claimed(database, keyring)} == {other.session_uuid}, "not at once"
    async with database.transaction() as connection:
        await resuming.tell_now(connection, session.session_uuid)
    again = [each.event for each in await claimed(database, keyring) if each.session_uuid == session.session_uuid]
    assert again == events[3:]


async def test_a_forwarder_that_has_some_of_its_events_in_hand_is_waited_for(
    database: Database, keyring: Keyring
) -> None:
    session = await active(database, keyring)
    await post(database, keyring, session, *answered_call(call())[:5])
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE inbox SET due_at = now() + interval '1 hour' WHERE event_id LIKE '%answer' OR event_id LIKE '%ring'"
        )
    async with database.transaction() as forwarding:
        in_hand = await inbox.claim(forwarding, keyring, 2)
        taking = asyncio.create_task(taken(database, keyring, session.session_uuid))
        await asyncio.sleep(0.1)
        assert not taking.done()
        # Temporal has just told it that the workflow is no more. It waits for nobody who waits for it.
        await asyncio.wait_for(inbox.postpone(forwarding, session.session_uuid, timedelta(minutes=5)), 20)
    assert len(in_hand) == 2
    assert (await taking).again == 5


async def test_routes_of_parties_that_were_never_recorded_are_given_back(database: Database, keyring: Keyring) -> None:
    session = await active(database, keyring)
    new = session.terms.model_copy(update={"second_party": "+12025550111"})
    async with database.transaction() as connection:
        assert await change_parties(connection, keyring, session, new)

    async def reaches(number: str) -> bool:
        async with database.transaction() as connection:
            found = await find_route(connection, keyring, session.virtual_number, number, "a call")
        return found is not None and not found.route.released

    assert (await reaches(session.terms.second_party), await reaches(new.second_party)) == (False, True)
    await taken(database, keyring, session.session_uuid)
    assert (await reaches(session.terms.second_party), await reaches(new.second_party)) == (True, False)
    assert await reaches(FIRST)


async def test_one_whose_bill_is_closed_or_that_is_none_is_not_taken_over(database: Database, keyring: Keyring) -> None:
    session, lives = await active(database, keyring), await active(database, keyring, "+12025550111")
    over = settled(elapsed(session, session.expires_at).session, session.expires_at).session
    async with database.transaction() as connection:
        await sessions.settle_session(connection, keyring, over)
    async with database.transaction() as connection:
        assert await take_over(connection, keyring, session.session_uuid) is None
        assert await take_over(connection, keyring, "nobody") is None
        assert await resuming.standing(connection, session.session_uuid) == "settled"
        assert await resuming.standing(connection, "nobody") == "unknown"
        assert await resuming.unsettled(connection) == [lives.session_uuid]
        assert await resuming.unsettled(connection, ACCOUNT) == [lives.session_uuid]
        assert await resuming.unsettled(connection, "MAANOTHER0000000000") == []
    assert (await stored(database, keyring, session))[0] == over


async def test_of_two_only_one_is_alone(database: Database) -> None:
    async with database.autocommit() as one, database.autocommit() as two:
        async with resuming.alone(one, "a session") as first, resuming.alone(two, "a session") as second:
            assert (first, second) == (True, False)
            async with resuming.alone(two, "another") as third:
                assert third
        async with resuming.alone(two, "a session") as second:
            assert second


async def test_a_call_to_the_first_party_that_was_made_is_told_again_and_not_made_again(
    database: Database, keyring: Keyring
) -> None:
    session = await active(database, keyring)
    asked = CallFirstParty(
        session_uuid=session.session_uuid, virtual_number=session.virtual_number, terms=session.terms
    )
    activities = CarrierActivities(database, keyring, None, "http://gateway.example")
    async with database.transaction() as connection:
        assert await claim_first_call(connection, session.session_uuid, session.virtual_number)
    with pytest.raises(ApplicationError, match="may have called already"):
        await activities.call_first_party(asked)

    async with database.transaction() as connection:
        found = await find_first_party(connection, keyring, session.session_uuid, "made")
        assert found is not None
        made = placed_call("made", found.route)
        await note_call(connection, found, made, None)
    again = await activities.call_first_party(asked)
    assert (again.event_id, again.call, again.at) == ("made:placed", made, found.now)


async def test_the_first_party_sees_no_number_but_the_sessions_and_the_pools(
    database: Database, keyring: Keyring
) -> None:
    """Whatever the state of a workflow says, which somebody may have started it with."""
    session = await active(database, keyring)
    async with database.transaction() as connection:
        for foreign in ("+12025550911", FIRST):
            assert not await claim_first_call(connection, session.session_uuid, foreign)
        async with connection.transaction(force_rollback=True):
            await connection.execute("DELETE FROM numbers WHERE number = %s", (session.virtual_number,))
            assert not await claim_first_call(connection, session.session_uuid, session.virtual_number)
        assert await claim_first_call(connection, session.session_uuid, session.virtual_number)
