"""PINs, single parties, calls to the first party, recordings: the same over each of the three carriers.

One story, seen three times: by the instance that has Plivo mask, by the one that is Plivo, which masks over its `voice`
carrier, and by the telephone network. All three come to the same session, the same callbacks and the same bill.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from masking.carriers.simulator.phones import Behaviour
from masking.carriers.simulator.records import CallRecord
from masking.domain.bill.charges import Bill
from tests.conftest import ACCOUNT
from tests.integration.conftest import Receiver, System
from tests.integration.second_instance import (
    FIRST,
    SECOND,
    comparable,
    counterpart_of,
    created,
    front,
    fronts_url,
    shown,
)
from tests.integration.telephone import Telephone, all_delivered, heard, heard_on, telephone
from tests.integration.test_switchboard import PIN, PROMPT, WRONG, pins

__all__ = ["front", "fronts_url", "telephone"]

pytestmark = [pytest.mark.anyio, pytest.mark.long]

STRANGER, OTHER = "+12025550150", "+12025550151"
EACH_SIDES = ("SequenceNumber", "SessionUUID")


@pytest.fixture
def speed() -> float:
    """Simulated seconds per real second: there are many calls."""
    return 60.0


@dataclass
class Play:
    """A session that Plivo masks, the phones that call on it, and what its customer hears."""

    front: System
    system: System
    telephone: Telephone
    receiver: Receiver
    session: dict[str, Any]
    calls: list[CallRecord]

    @property
    def uuid(self) -> str:
        return str(self.session["session_uuid"])

    @property
    def number(self) -> str:
        return f"+{self.session['virtual_number']}"

    async def dials(self, caller: str, **behaviour: Any) -> CallRecord:
        """Somebody calls the number; the call once it is over and told of. Plivo tells moments in whole seconds."""
        if behaviour:
            await self.telephone.phones.behave(caller, Behaviour(**behaviour))
        call = await self.telephone.call(caller, self.number)
        self.calls.append(call)
        await asyncio.sleep(1.1)
        return call

    async def talked(self, times: int) -> None:
        await heard(self.receiver, "SessionPartiesHangup", times)

    async def ends(self) -> list[Bill]:
        """The session is expired; Plivo's bill and ours."""
        there = await counterpart_of(self.system)
        assert (await self.front.http.delete(f"{self.front.api}/{self.uuid}/")).status_code == 200
        sides = ((self.system, there["session_uuid"]), (self.front, self.uuid))
        return [await asyncio.wait_for(side.sessions.final_bill(uuid), 30) for side, uuid in sides]

    async def is_the_same_everywhere(self, recordings: int = 0) -> dict[str, Any]:
        """Ends the session, and compares. Its resource."""
        theirs, ours = await self.ends()
        await all_delivered(self.front, self.uuid)
        assert ours.calls == theirs.calls
        assert ours.total_amount == theirs.total_amount

        resource, there = await shown(self.front, self.uuid), await counterpart_of(self.system)
        compared, expected = comparable(resource, self.front), comparable(there, self.system)
        for mine, others in zip(compared["interaction"], expected["interaction"], strict=True):
            assert mine == others
        assert compared == expected

        # The network knows nothing of sessions; it has carried these legs, for so many seconds.
        legs = [leg for call in self.calls if call.callees or call.direction == "outbound" for leg in call.legs]
        assert ours.calls.call_count == len(legs)
        assert ours.calls.duration == sum(leg.duration for leg in legs)
        assert ours.calls.billed_duration == sum(leg.bill_duration for leg in legs)
        shown_urls = json.dumps(resource["interaction"])
        assert all(leg.leg_uuid in shown_urls for leg in legs)

        told_here, told_there = [
            await told(*side) for side in ((self.front, self.uuid), (self.system, there["session_uuid"]))
        ]
        assert told_here == told_there
        assert sum(count for each, count in told_here.items() if "SessionRecordingCompleted" in each) == recordings
        entries = [each for each in resource["interaction"] if "recording_resource_url" in each]
        assert len(entries) == recordings
        for entry in entries:
            recording = (await self.front.http.get(entry["recording_resource_url"])).json()
            media = await self.front.http.get(recording["recording_url"])
            name = recording["recording_url"].rsplit("/", 1)[1]
            assert media.content == self.telephone.recordings.read(name)
        return resource


async def told(system: System, uuid: str) -> Counter[str]:
    """What the customer of a session was told, whatever the order, without what each side has of its own.

    Ours ends when Plivo has said that its own has.
    """
    callbacks = f"{system.settings.base_url}/v1/Account/{ACCOUNT}/Masking/Callback/"
    listed = (await system.http.get(f"{callbacks}?session_uuid={uuid}&state=all&limit=100")).json()["response"][
        "objects"
    ]
    found: Counter[str] = Counter()
    for each in listed:
        params = (await system.http.get(f"{callbacks}{each['callback_id']}/")).json()["response"]["params"]
        each_sides = {*EACH_SIDES, "EventTimestamp"} if params["EventName"] == "SessionTimeout" else EACH_SIDES
        kept = {name: value for name, value in params.items() if name not in each_sides}
        found[json.dumps(kept, sort_keys=True).replace(system.settings.base_url, "https://here")] += 1
    return found


async def play(front: System, system: System, telephone: Telephone, receiver: Receiver, **arguments: Any) -> Play:
    made = await created(front, receiver, session_expiry=7200, **arguments)
    return Play(front, system, telephone, receiver, made, [])


def outcomes(calls: Sequence[CallRecord]) -> list[tuple[str, str] | None]:
    """Who was called, and what the phone showed; None of a call that was not connected."""
    return [(call.callee.number, str(call.callee.screen)) if call.callee is not None else None for call in calls]


async def test_pins_that_were_given(front: System, system: System, telephone: Telephone, receiver: Receiver) -> None:
    it = await play(front, system, telephone, receiver, **PIN, record=True, pin_retry=2)
    assert (it.session["first_party_pin"], it.session["second_party_pin"]) == ("1234", "987654321")
    for phone in (FIRST, SECOND):
        await telephone.phones.behave(phone, Behaviour(answers_after=2, hangs_up_after=70))

    known = await it.dials(FIRST)
    corrected = await it.dials(STRANGER, presses=("0000#", "1234#"))
    for_the_other = await it.dials(OTHER, presses=("987654321#",))
    hidden = await it.dials(OTHER, hidden=True, presses=("1234#",))
    guessed = await it.dials(STRANGER, presses=("0000#", "1111#", "2222#"))
    await it.talked(4)

    assert heard_on(known, "caller") == []
    assert heard_on(corrected, "caller") == [PROMPT, "****", WRONG, PROMPT, "****"]
    assert outcomes(it.calls) == [
        (SECOND, it.number),
        (SECOND, it.number),
        (FIRST, it.number),
        (SECOND, it.number),
        None,
    ]
    assert guessed.callee is None
    assert hidden.caller.number == OTHER
    assert for_the_other.callee is not None
    resource = await it.is_the_same_everywhere(recordings=4)
    assert resource["total_call_count"] == 8
    stranger = STRANGER[1:]
    assert sorted(pins(receiver)) == sorted(
        [
            ("AuthorizedCaller", "0", FIRST[1:]),
            *[("failed", str(n), stranger) for n in (1, 1, 2, 3)],
            ("success", "1", stranger),
            ("success", "0", OTHER[1:]),
            ("success", "0", ""),
        ]
    )


async def test_pins_that_plivo_made(front: System, system: System, telephone: Telephone, receiver: Receiver) -> None:
    given = {"is_pin_authentication_required": True, "generate_pin": True, "generate_pin_length": 6}
    it = await play(
        front, system, telephone, receiver, **given, force_pin_authentication=True, pin_prompt_play=PROMPT,
        incorrect_pin_play=WRONG, record=True, record_file_format="wav",
    )  # fmt: skip
    of_first, of_second = it.session["first_party_pin"], it.session["second_party_pin"]
    assert {len(of_first), len(of_second)} == {6}
    assert of_first != of_second
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=30))

    by_first = await it.dials(FIRST, presses=(f"{of_first}#",))
    await telephone.phones.behave(FIRST, Behaviour(hangs_up_after=30))
    by_stranger = await it.dials(STRANGER, presses=(f"{of_second}#",))
    await it.talked(2)

    assert outcomes([by_first, by_stranger]) == [(SECOND, it.number), (FIRST, it.number)]
    assert heard_on(by_first, "caller") == [PROMPT, "******"]
    resource = await it.is_the_same_everywhere(recordings=2)
    assert (resource["first_party_pin"], resource["second_party_pin"]) == (of_first, of_second)
    assert pins(receiver) == [("success", "0", FIRST[1:]), ("success", "0", STRANGER[1:])]


async def test_a_single_party_that_another_one_joins(
    front: System, system: System, telephone: Telephone, receiver: Receiver
) -> None:
    it = await play(
        front, system, telephone, receiver, second_party="", create_session_with_single_party=True, record=True
    )
    assert it.session["second_party"] == ""
    await telephone.phones.behave(FIRST, Behaviour(hangs_up_after=20))
    nobody = await it.dials(FIRST)
    await it.dials(STRANGER)
    await telephone.phones.behave(STRANGER, Behaviour(hangs_up_after=20))
    await it.dials(FIRST)
    hidden = await it.dials(OTHER, hidden=True)
    await it.talked(3)
    assert nobody.callee is None
    assert (hidden.callee is not None, hidden.caller.number) == (True, OTHER)

    one = f"{front.api}/{it.uuid}/"
    assert (await front.http.post(one, json={"second_party": SECOND})).status_code == 200
    assert (await counterpart_of(system))["second_party"] == SECOND[1:]
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=20))
    await it.dials(FIRST)
    await it.dials(STRANGER)
    await it.dials(SECOND)
    await it.talked(5)

    party = (FIRST, it.number)
    assert outcomes(it.calls) == [None, party, (STRANGER, it.number), party, (SECOND, it.number), None, party]
    resource = await it.is_the_same_everywhere(recordings=5)
    assert (resource["first_party"], resource["second_party"]) == (FIRST[1:], SECOND[1:])
    assert resource["total_call_count"] == 10


@pytest.mark.parametrize("ending", ["they talk", "the second party is busy", "the first party does not answer"])
async def test_plivo_calls_the_first_party(
    front: System, system: System, telephone: Telephone, receiver: Receiver, ending: str
) -> None:
    phones = telephone.phones
    await phones.behave(FIRST, Behaviour(on_ring="ignore" if "first" in ending else "manual"))
    await phones.behave(SECOND, Behaviour(on_ring="busy" if "busy" in ending else "answer", hangs_up_after=61))
    it = await play(front, system, telephone, receiver, initiate_call_to_first_party=True, record=True, ring_timeout=20)
    async with asyncio.timeout(60):
        while not (calls := await phones.calls()):  # noqa: ASYNC110 the network sets no event
            await asyncio.sleep(0.05)
    (placed,) = calls
    if "first" not in ending:
        await phones.wait_for(FIRST, "ringing")
        await phones.answer(FIRST)
    it.calls.append(await telephone.over(placed.call_uuid))
    await it.talked(1)
    await asyncio.sleep(1.1)
    await phones.behave(FIRST, Behaviour(hangs_up_after=5))
    await phones.behave(SECOND, Behaviour())
    await it.dials(SECOND)
    await it.talked(2)

    (first, _) = it.calls
    assert (first.caller.number, first.caller.screen) == (FIRST, it.number)
    assert (first.callee is None) == ("first" in ending)
    resource = await it.is_the_same_everywhere(recordings=2 if "talk" in ending else 1)
    assert resource["initiate_call_to_first_party"] is True
    assert [each["total_call_count"] for each in resource["interaction"]] == [1 if "first" in ending else 2, 2]


async def test_a_right_pin_while_others_talk_is_no_conversation(
    front: System, system: System, telephone: Telephone, receiver: Receiver
) -> None:
    it = await play(front, system, telephone, receiver, **PIN)
    phones = telephone.phones
    await phones.behave(SECOND, Behaviour())
    talking = await phones.dial(FIRST, it.number)
    await phones.wait_for(SECOND, "talking")
    await asyncio.sleep(1.1)
    await phones.behave(STRANGER, Behaviour(presses=("1234#",)))
    turned_away = await telephone.call(STRANGER, it.number)
    await heard(receiver, "SessionPinAuthenticationStatus", 2)
    await asyncio.sleep(1.1)
    await phones.hang_up(FIRST)
    it.calls.append(await telephone.over(talking))
    await it.talked(1)
    await asyncio.sleep(1.1)
    assert turned_away.callee is None
    assert (await shown(front, it.uuid))["status"] == "active"

    await phones.behave(FIRST, Behaviour(hangs_up_after=5))
    await it.dials(SECOND)
    await it.talked(2)
    await it.is_the_same_everywhere()
