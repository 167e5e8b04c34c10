"""What the switchboard decides, webhook by webhook: who is first, who is asked, and what the session hears of it."""

from __future__ import annotations

import asyncio
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from masking.storage import inbox
from tests.integration.conftest import Receiver, System
from tests.integration.reported_calls import ring_at
from tests.integration.telephone import heard, story_of
from tests.integration.test_switchboard import FIRST, PIN, SECOND, STRANGER, create, expire, pins, resource

pytestmark = pytest.mark.anyio

ANNOUNCEMENT = "https://x.example/who.mp3"
OTHERS = {"first_party": "+12025550111", "second_party": "+12025550112"}
Document = ElementTree.Element


async def press(system: System, number: str, caller: str, call_uuid: str, digits: str, wrong: int = 0) -> Document:
    """A caller who was asked enters digits; what the carrier is told to do then."""
    form = {"CallUUID": call_uuid, "From": caller, "To": number, "Digits": digits}
    response = await system.webhook(f"/carrier/voice/calls/{call_uuid}/pin?wrong={wrong}", form)
    assert response.status_code == 200
    return ElementTree.fromstring(response.text)


async def call_and_press(system: System, number: str, caller: str, digits: str) -> Document:
    """Somebody calls a number and, where it is asked for a PIN, enters it."""
    call_uuid = str(uuid4())
    document = await ring_at(system, number, caller, call_uuid)
    if document.find("GetDigits") is None:
        return document
    return await press(system, number, caller, call_uuid, digits)


async def end_all_calls(system: System) -> None:
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE calls SET ended_at = now()")


def told(document: Document) -> list[tuple[str, str]]:
    """The elements that the carrier got, each with its reason or text."""
    return [(element.tag, element.get("reason") or element.text or "") for element in document]


BUSY, REFUSED = [("Hangup", "busy")], [("Hangup", "rejected")]


async def test_of_two_parties_who_call_at_once_one_is_connected(system: System, receiver: Receiver) -> None:
    session = await create(system, receiver)
    for _ in range(20):
        documents = await asyncio.gather(*(ring_at(system, session["number"], caller) for caller in (FIRST, SECOND)))
        dials = [document for document in documents if document.find("Dial") is not None]
        assert len(dials) == 1
        assert [told(document) for document in documents if document not in dials] == [BUSY]
        await end_all_calls(system)


async def test_of_many_who_enter_pins_at_once_one_is_connected(system: System, receiver: Receiver) -> None:
    session = await create(system, receiver, **PIN)
    callers = [f"+120255501{n}" for n in range(60, 68)]
    entered = [
        call_and_press(system, session["number"], caller, "1234" if n % 2 else "987654321")
        for n, caller in enumerate(callers)
    ]
    documents = await asyncio.gather(*entered)

    assert sorted(document.find("Dial") is not None for document in documents) == [False] * 7 + [True]


async def test_a_session_that_asks_for_a_pin_goes_before_one_that_lives_longer_and_only_announces(
    system: System, receiver: Receiver
) -> None:
    short = await create(system, receiver, **PIN, session_expiry=600)
    for n, lives in enumerate((7200, 300)):
        pair = {"first_party": f"+1202555012{n}", "second_party": f"+1202555013{n}"}
        other = await create(system, receiver, **pair, unknown_caller_play=ANNOUNCEMENT, session_expiry=lives)
        assert other["number"] == short["number"]

    asked = await ring_at(system, short["number"], STRANGER)
    assert asked.find("GetDigits") is not None
    await expire(system, short)
    assert told(await ring_at(system, short["number"], STRANGER)) == [("Play", ANNOUNCEMENT), ("Hangup", "")]


async def test_calling_many_times_at_once_gives_no_more_tries(system: System, receiver: Receiver) -> None:
    session = await create(system, receiver, **PIN, pin_retry=0)
    calls = [str(uuid4()) for _ in range(25)]
    for call_uuid in calls:
        assert (await ring_at(system, session["number"], STRANGER, call_uuid)).find("GetDigits") is not None
    tried = await asyncio.gather(
        *(press(system, session["number"], STRANGER, call_uuid, "0000") for call_uuid in calls[1:])
    )

    assert sum(document.find("Play") is not None for document in tried) == 10, "the others are not even looked at"
    assert told(await press(system, session["number"], STRANGER, calls[0], "1234")) == REFUSED
    # The PIN was right, and nobody learns it.
    assert (await call_and_press(system, session["number"], "+12025550160", "1234")).find("Dial") is not None
    await heard(receiver, "SessionPinAuthenticationStatus", 11)
    assert [outcome for outcome, *_ in pins(receiver)].count("failed") == 10


async def test_a_caller_is_slowed_on_every_number_and_hidden_ones_on_each_for_itself(
    system: System, receiver: Receiver
) -> None:
    here = await create(system, receiver, **PIN, pin_retry=0)
    there = await create(system, receiver, **PIN, pin_retry=0)
    assert here["number"] != there["number"]
    for caller in (STRANGER, "anonymous"):
        for _ in range(10):
            assert (await call_and_press(system, here["number"], caller, "0000")).find("Play") is not None

    assert told(await ring_at(system, there["number"], STRANGER)) == REFUSED
    assert told(await ring_at(system, here["number"], "anonymous")) == REFUSED
    assert (await ring_at(system, there["number"], "anonymous")).find("GetDigits") is not None
    assert "too many wrong PINs of late" in await story_of(system, there, "too many")


async def test_once_a_single_party_has_its_other_strangers_are_strangers_again(
    system: System, receiver: Receiver
) -> None:
    session = await create(
        system, receiver, second_party="", create_session_with_single_party=True, unknown_caller_play=ANNOUNCEMENT
    )
    update = await system.http.post(f"{system.api}/{session['session_uuid']}/", json={"second_party": SECOND})
    assert update.status_code == 200

    assert told(await ring_at(system, session["number"], STRANGER)) == [("Play", ANNOUNCEMENT), ("Hangup", "")]
    story = await story_of(system, session, "no session knows this caller on this number")
    assert "has ended" not in story


async def test_a_former_party_of_a_live_session_is_told_apart_in_its_history(
    system: System, receiver: Receiver
) -> None:
    session = await create(system, receiver, create_session_with_single_party=True)
    one = f"{system.api}/{session['session_uuid']}/"
    assert (await system.http.post(one, json={"second_party": STRANGER})).status_code == 200

    assert (await ring_at(system, session["number"], SECOND)).find("Dial") is None
    story = await story_of(system, session, "the caller was a party of the session, and is none any more")
    assert "has ended" not in story


async def test_after_a_hidden_caller_nobody_is_called_back(system: System, receiver: Receiver) -> None:
    session = await create(system, receiver, second_party="", create_session_with_single_party=True)
    for caller in (STRANGER, "anonymous"):
        assert (await ring_at(system, session["number"], caller)).findtext("Dial/Number") == FIRST[1:]
        await end_all_calls(system)

    assert told(await ring_at(system, session["number"], FIRST)) == REFUSED
    assert (await ring_at(system, session["number"], STRANGER)).find("Dial") is not None
    await end_all_calls(system)
    assert (await ring_at(system, session["number"], FIRST)).findtext("Dial/Number") == STRANGER[1:]


async def test_a_right_pin_is_told_also_when_the_session_is_busy_or_has_ended(
    system: System, receiver: Receiver
) -> None:
    session = await create(system, receiver, **PIN)
    waiting = [str(uuid4()), str(uuid4())]
    for call_uuid in waiting:
        await ring_at(system, session["number"], STRANGER, call_uuid)
    assert (await ring_at(system, session["number"], FIRST)).find("Dial") is not None
    assert told(await ring_at(system, session["number"], SECOND)) == BUSY
    assert told(await press(system, session["number"], STRANGER, waiting[0], "1234")) == BUSY
    await heard(receiver, "SessionPinAuthenticationStatus", 3)
    stranger = STRANGER[1:]
    assert pins(receiver) == [
        ("AuthorizedCaller", "0", FIRST[1:]), ("AuthorizedCaller", "0", SECOND[1:]), ("success", "0", stranger)
    ]  # fmt: skip
    assert len((await resource(system, session))["interaction"]) == 1, "no conversation comes of them"

    await system.http.delete(f"{system.api}/{session['session_uuid']}/")
    late = await press(system, session["number"], STRANGER, waiting[1], "1234")
    assert late.find("Speak") is not None
    await heard(receiver, "SessionPinAuthenticationStatus", 4)
    assert pins(receiver)[-1] == ("success", "0", stranger)
    assert (await ring_at(system, session["number"], SECOND)).find("Speak") is not None
    story = await story_of(system, session, "the session has ended")
    assert story.count("PIN: AuthorizedCaller") == 2, "a session that has ended authorises nobody"


async def test_each_question_and_announcement_is_in_the_sessions_history(system: System, receiver: Receiver) -> None:
    asking = await create(system, receiver, **PIN, pin_retry=1)
    call_uuid = str(uuid4())
    for _ in range(2):
        await ring_at(system, asking["number"], STRANGER, call_uuid)
    await press(system, asking["number"], STRANGER, call_uuid, "0000")
    await press(system, asking["number"], STRANGER, call_uuid, "0001", wrong=1)
    story = await story_of(system, asking, "a wrong PIN, try 2 of its call")
    assert story.count("a caller was asked: the caller has to enter a PIN") == 1, "a repeated webhook tells no more"
    await expire(system, asking)

    announcing = await create(system, receiver, **OTHERS, unknown_caller_play=ANNOUNCEMENT)
    await ring_at(system, announcing["number"], STRANGER)
    await story_of(system, announcing, "a call was not connected: no session knows this caller on this number")
    assert (await resource(system, announcing))["interaction"] is None


async def test_a_session_hears_of_so_many_declined_calls_and_wrong_pins_and_no_more(
    system: System, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MOST_HEARD", 3)
    session = await create(system, receiver, **PIN, pin_retry=0)
    for n in range(5):
        document = await call_and_press(system, session["number"], f"+1202555016{n}", "0000")
        assert document.find("Play") is not None, "each call is decided as before"
    assert (await ring_at(system, session["number"], FIRST)).find("Dial") is not None
    await heard(receiver, "SessionSecondPartyRing")

    async with system.database.transaction() as connection:
        posted = await connection.execute("SELECT signal, count(*) FROM inbox GROUP BY signal ORDER BY signal")
        assert await posted.fetchall() == [("answer", 1), ("declined", 3), ("pin_status", 4), ("ring", 1)]
        counted = await connection.execute("SELECT declined_count, pin_count FROM unconnected")
        assert await counted.fetchall() == [(5, 5)]
    assert [outcome for outcome, *_ in pins(receiver)] == ["failed"] * 3 + ["AuthorizedCaller"]


async def test_a_pin_that_the_carrier_posts_again_gets_the_same_answer_and_counts_once(
    system: System, receiver: Receiver
) -> None:
    """As when it had our answer too late: also where this try is the last but one that the caller has."""
    session = await create(system, receiver, **PIN)
    number, call_uuid = session["number"], str(uuid4())
    for _ in range(system.settings.pin_failures_per_caller - 2):
        await call_and_press(system, number, STRANGER, "0000")
    await ring_at(system, number, STRANGER, call_uuid)
    for digits, wrong, element in (("0000", 0, "GetDigits"), ("1234", 1, "Dial")):
        once, again = [await press(system, number, STRANGER, call_uuid, digits, wrong) for _ in range(2)]
        assert once.find(element) is not None
        assert ElementTree.tostring(again) == ElementTree.tostring(once)
