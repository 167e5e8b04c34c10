"""A conversation that the session's end finds in progress, where the deployment has it dropped, or has both warned."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from masking.carriers import words
from tests.integration.conftest import Receiver, System
from tests.integration.telephone import Telephone, heard, heard_on, speed, telephone
from tests.integration.test_switchboard import FIRST, SECOND, conversations, create, expire

__all__ = ["speed", "telephone"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def more_settings() -> dict[str, Any]:
    return {"at_expiry": "drop", "ended_play_url": "https://x.example/over.mp3"}


async def conversation(system: System, telephone: Telephone, receiver: Receiver) -> tuple[dict[str, Any], str]:
    """A session whose parties talk, and the call's id."""
    session = await create(system, receiver)
    call_uuid = await telephone.phones.dial(FIRST, session["number"])
    await telephone.phones.wait_for(SECOND, "talking")
    await heard(receiver, "SessionSecondPartyAnswer")
    return session, call_uuid


async def test_a_conversation_is_dropped_at_expiry_and_late_callers_hear_the_deployments_audio(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session, call_uuid = await conversation(system, telephone, receiver)
    final = await expire(system, session)
    call = await telephone.over(call_uuid)
    late = await telephone.call(SECOND, session["number"])

    assert (call.caller.cause.name, call.caller.source) == ("Normal Hangup", "Answer XML")
    assert heard_on(call, "caller") == heard_on(call, "callee") == [words.FAREWELL]
    assert final.calls.call_count == 2
    assert heard_on(late, "caller") == ["https://x.example/over.mp3"]
    assert late.callee is None


@pytest.mark.parametrize("more_settings", [{"at_expiry": "warn"}])
async def test_both_are_warned_at_expiry_and_may_say_goodbye(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session, call_uuid = await conversation(system, telephone, receiver)
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")
    async with asyncio.timeout(30):
        while heard_on(call := await telephone.phones.call(call_uuid), "callee") == []:  # noqa: ASYNC110 across HTTP
            await asyncio.sleep(0.05)

    assert heard_on(call, "caller") == heard_on(call, "callee") == [words.EXPIRY_WARNING]
    assert not call.ended, "the warning comes first, the end later"
    await telephone.phones.hang_up(FIRST)
    assert (await heard(receiver, "SessionPartiesHangup"))["PlivoHangupCauseCode"] == "4000"
    (interaction,) = await conversations(system, session)
    assert interaction["total_call_count"] == 2
