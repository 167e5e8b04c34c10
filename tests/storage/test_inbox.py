"""The inbox: nothing waits behind what cannot move, and late events correct bills without editing them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from activities.sessions import RecordSession, SessionActivities
from masking.domain.bill.charges import bill
from masking.domain.events import AnyCarrierEvent, Hangup
from masking.domain.lifecycle import elapsed, given_up, opened, settled
from masking.domain.session import Session
from masking.privacy.keyring import Keyring, Unreadable
from masking.storage import inbox, sessions
from masking.storage.corrections import corrections_of, take_late
from masking.storage.database import Database
from masking.storage.inbox import WaitingEvent
from tests.conftest import LOOKUP_KEY, MASTER_KEY
from tests.domain.conversation import answered_call, call, hear, unanswered_call
from tests.storage.test_routes import asked, open_

pytestmark = pytest.mark.anyio


async def active(database: Database, keyring: Keyring, first: str = "+12025550101") -> Session:
    session = asked(first)
    number = await open_(database, keyring, session)
    assert number is not None
    return opened(session, number).session


async def post(database: Database, keyring: Keyring, session: Session, *events: AnyCarrierEvent) -> None:
    async with database.transaction() as connection:
        cipher = await sessions.session_cipher(connection, keyring, session.session_uuid)
        assert cipher is not None
        for event in events:
            await inbox.post(connection, session.session_uuid, cipher, event)


async def claimed(database: Database, keyring: Keyring) -> list[WaitingEvent]:
    async with database.transaction() as connection:
        return await inbox.claim(connection, keyring, 50)


async def test_an_event_that_cannot_be_read_holds_up_no_other_and_stays(
    database: Database, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    session = await active(database, keyring)
    events = answered_call(call())
    await post(database, keyring, session, *events[:3])
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE inbox SET sealed_event = set_byte(sealed_event, 20, get_byte(sealed_event, 20) # 1)"
            " WHERE event_id = %s",
            (events[0].event_id,),
        )

    assert [waiting.event for waiting in await claimed(database, keyring)] == events[1:3]
    assert "1 events cannot be read" in caplog.text
    async with database.transaction() as connection:
        (kept,) = await inbox.standing(connection, "unreadable", 10)
        assert (kept.event_id, kept.session_uuid) == (events[0].event_id, session.session_uuid)
        assert (await inbox.missing(connection, session.session_uuid)).unreported == 3, "it still keeps the bill open"
        await connection.execute(
            "UPDATE inbox SET sealed_event = set_byte(sealed_event, 20, get_byte(sealed_event, 20) # 1)"
            " WHERE event_id = %s",
            (events[0].event_id,),
        )
        assert await inbox.retry_some(connection) == (1, None)
    assert [waiting.event for waiting in await claimed(database, keyring)] == events[:3]


async def test_an_event_whose_key_comes_later_is_tried_again_for_a_while(
    database: Database, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    newer = Keyring({"k1": MASTER_KEY, "k2": b"2" * 32}, "k2", LOOKUP_KEY)
    session, fine = await active(database, newer), await active(database, keyring, "+12025550111")
    events = answered_call(call())
    await post(database, newer, session, *events[:2])
    await post(database, keyring, fine, *answered_call(call("fine"))[:1])

    assert [waiting.session_uuid for waiting in await claimed(database, keyring)] == [fine.session_uuid]
    assert "the keys of 1 sessions are not in the key ring" in caplog.text
    async with database.transaction() as connection:
        assert await inbox.standing(connection, "unreadable", 10) == []
        tried = await inbox.standing(connection, "waiting", 10, session.session_uuid)
        assert [each.attempts for each in tried] == [1, 1]
    looked = await claimed(database, newer)
    assert [waiting.session_uuid for waiting in looked] == [fine.session_uuid], "not at once, whoever looks"

    async def due_again(attempts: int) -> None:
        async with database.transaction() as connection:
            await connection.execute("UPDATE inbox SET due_at = now(), attempts = %s", (attempts,))

    await due_again(11)
    await claimed(database, keyring)
    await due_again(11)
    assert [waiting.event for waiting in await claimed(database, newer)][:2] == events[:2]
    await due_again(12)
    await claimed(database, keyring)
    async with database.transaction() as connection:
        assert len(await inbox.standing(connection, "unreadable", 10)) == 2


async def test_a_session_that_takes_no_events_is_tried_less_and_less_and_the_others_go_on(
    database: Database, keyring: Keyring
) -> None:
    stuck, fine = await active(database, keyring), await active(database, keyring, "+12025550111")
    await post(database, keyring, stuck, *answered_call(call("stuck"))[:2])
    await post(database, keyring, fine, *answered_call(call("fine"))[:1])
    async with database.transaction() as connection:
        for _ in range(3):
            await inbox.postpone(connection, stuck.session_uuid, timedelta(minutes=5))
        row = await (
            await connection.execute("SELECT DISTINCT due_at - now() FROM inbox WHERE due_at > now()")
        ).fetchall()

    assert row == [(timedelta(seconds=4),)]
    assert [waiting.session_uuid for waiting in await claimed(database, keyring)] == [fine.session_uuid]
    async with database.transaction() as connection:
        await inbox.postpone(connection, stuck.session_uuid, timedelta(seconds=1))
        waiting = await inbox.standing(connection, "waiting", 10, stuck.session_uuid)
    assert [each.attempts for each in waiting] == [4, 4]


async def test_late_events_correct_a_closed_bill_by_entries_of_their_own(database: Database, keyring: Keyring) -> None:
    session = await active(database, keyring)
    now = datetime.now(UTC)
    events = [e.model_copy(update={"at": now}) for e in answered_call(call(recorded=False))]
    ends = [event for event in events if isinstance(event, Hangup)]
    heard = elapsed(hear(session, events[:3]).session, session.expires_at).session
    final = settled(given_up(heard, now + timedelta(days=1)).session, now).session
    async with database.transaction() as connection:
        closed = await sessions.settle_session(connection, keyring, final)
    assert closed.calls.amount == 0
    await post(database, keyring, session, *ends)

    for _ in range(2):
        for waiting in await claimed(database, keyring):
            async with database.transaction() as connection:
                assert await take_late(connection, keyring, waiting)
    async with database.transaction() as connection:
        entries = await corrections_of(connection, session.session_uuid)
        kept = await inbox.standing(connection, "late", 10)
        stored = await (await connection.execute("SELECT total_call_amount FROM settlements")).fetchall()

    whole = bill(hear(session, events).session).calls
    assert sum((entry.amount for entry in entries), Decimal(0)) == whole.amount > 0
    assert sum(entry.billed_duration for entry in entries) == whole.billed_duration
    assert {entry.event_id for entry in entries} == {event.event_id for event in ends}
    assert {entry.event_id for entry in kept} == {event.event_id for event in ends}
    assert stored == [(0,)], "the bill that was closed stands"


async def test_a_late_event_of_a_session_that_cannot_be_read_waits(database: Database, keyring: Keyring) -> None:
    session = await active(database, keyring)
    now = datetime.now(UTC)
    async with database.transaction() as connection:
        over = settled(elapsed(session, session.expires_at).session, now).session
        await sessions.settle_session(connection, keyring, over)
    await post(database, keyring, session, answered_call(call(recorded=False))[-1])
    alter = "UPDATE sessions SET sealed_session = set_byte(sealed_session, 20, get_byte(sealed_session, 20) # 1)"
    (waiting,) = await claimed(database, keyring)
    async with database.transaction() as connection:
        await connection.execute(alter)
        with pytest.raises(Unreadable):
            await take_late(connection, keyring, waiting)
    async with database.transaction() as connection:
        assert await inbox.standing(connection, "late", 10) == []
        await connection.execute(alter)
    (waiting,) = await claimed(database, keyring)
    async with database.transaction() as connection:
        assert await take_late(connection, keyring, waiting)
        assert len(await inbox.standing(connection, "late", 10)) == 1


async def test_an_event_of_a_session_that_temporal_lost_is_kept_waiting(database: Database, keyring: Keyring) -> None:
    session = await active(database, keyring)
    await post(database, keyring, session, answered_call(call())[0])
    (waiting,) = await claimed(database, keyring)
    async with database.transaction() as connection:
        assert not await take_late(connection, keyring, waiting)
        assert (await inbox.missing(connection, session.session_uuid)).unreported == 1


async def test_what_a_session_has_not_heard_is_missing_and_so_is_a_call_that_goes_on(
    database: Database, keyring: Keyring
) -> None:
    session, other = await active(database, keyring), await active(database, keyring, "+12025550111")
    events = answered_call(call())
    await post(database, keyring, session, *events[:4])
    await post(database, keyring, other, *answered_call(call("other"))[:2])
    ids = [event.event_id for event in events]
    async with database.transaction() as connection:
        (first, *_) = await inbox.claim(connection, keyring, 1)
        await inbox.mark_forwarded(connection, [first.id])

        assert await inbox.missing(connection, session.session_uuid) == (3, 3, 4, False)
        assert await inbox.missing(connection, session.session_uuid, ids[:2]) == (3, 3, 2, False)
        assert await inbox.missing(connection, session.session_uuid, [*ids, "told by others"]) == (3, 3, 0, False)
        await connection.execute(
            "INSERT INTO calls (call_uuid, session_uuid, sealed_call, decision, reason, started_at, must_end_by)"
            " VALUES ('live', %s, '', '', '', now(), now() + interval '1 hour')",
            (session.session_uuid,),
        )
        assert await inbox.missing(connection, session.session_uuid, ids) == (4, 3, 1, False)
        over = settled(elapsed(session, session.expires_at).session, session.expires_at).session
        await sessions.settle_session(connection, keyring, over)
        assert await inbox.missing(connection, session.session_uuid, ids) == (4, 3, 1, True)


async def test_what_is_put_back_is_forwarded_once_more_unless_it_was_kept_as_late(
    database: Database, keyring: Keyring
) -> None:
    session = await active(database, keyring)
    events = answered_call(call())[:3]
    await post(database, keyring, session, *events)
    async with database.transaction() as connection:
        first, second, third = await inbox.claim(connection, keyring, 10)
        await inbox.mark_forwarded(connection, [first.id, second.id])
        await inbox.mark_late(connection, third.id)
        await inbox.put_back(connection, session.session_uuid, [e.event_id for e in events[1:]])

    assert [waiting.event for waiting in await claimed(database, keyring)] == [events[1]]


async def test_a_bill_is_closed_with_the_last_write_once_and_only_if_nothing_is_missing(
    database: Database, keyring: Keyring
) -> None:
    session, events = await active(database, keyring), answered_call(call(recorded=False))
    await post(database, keyring, session, *events)
    ends = session.expires_at
    activities = SessionActivities(database, keyring)

    async def closed(heard: list[AnyCarrierEvent]) -> tuple[bool, list[tuple[object, ...]]]:
        over = elapsed(hear(session, heard).session, ends).session
        command = RecordSession(
            session=over, asks_unreported=True, settle_at=ends, heard=tuple(event.event_id for event in heard)
        )
        recorded = await activities.record_session(command)
        async with database.transaction() as connection:
            rows = await connection.execute("SELECT total_call_count, settled_at FROM settlements")
            return recorded.settled, await rows.fetchall()

    assert await closed(events[:3]) == (False, [])
    assert await closed([*events[:2], *events[3:]]) == (False, []), "as many, but another one is missing"
    assert await closed(events) == (True, [(2, ends)])
    await post(database, keyring, session, *unanswered_call(call("late")))
    assert await closed(events) == (True, [(2, ends)]), "a retry finds what the first try did"


@pytest.mark.parametrize("by_name", [True, False], ids=["it knows all that it heard", "it heard too much to know"])
async def test_before_a_bill_is_closed_its_workflow_is_told_again_what_it_lacks_though_it_was_forwarded(
    database: Database, keyring: Keyring, by_name: bool
) -> None:
    """So it is with a workflow that was set back to a time before it heard that."""
    session = await active(database, keyring)
    heard, lost = answered_call(call(recorded=False)), unanswered_call(call("lost"))
    await post(database, keyring, session, *heard, *lost)
    async with database.transaction() as connection:
        waiting = await inbox.claim(connection, keyring, 100)
        await inbox.mark_forwarded(connection, [each.id for each in waiting])
    activities, ends = SessionActivities(database, keyring), session.expires_at

    def last(events: list[AnyCarrierEvent]) -> RecordSession:
        over = elapsed(hear(session, events).session, ends).session
        known = {"settle_at": ends, "heard": tuple(each.event_id for each in events)} if by_name else {}
        return RecordSession(session=over, asks_unreported=True, **known)

    told = await activities.record_session(last(heard))
    assert (told.settled, told.unreported) == (False, len(lost))
    assert [each.event for each in await claimed(database, keyring)] == lost
    async with database.transaction() as connection:
        await inbox.mark_forwarded(connection, [each.id for each in waiting])
    told = await activities.record_session(last([*heard, *lost]))
    assert (told.settled, told.unreported) == (by_name, 0)
