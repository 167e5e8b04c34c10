"""What every carrier of voice calls has to keep: each one that there is, against a network that takes nothing amiss.

A new carrier joins `CARRIERS`. Its network here may be the simulator, where it speaks as Plivo does, or a stub of its
own that is as strict as the real one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from aiohttp import web

from masking.carriers.errors import CarrierRefused
from masking.carriers.missed import missed
from masking.carriers.protocol import PATH, CallOrder, CallUrls, InboundCall, Orders, Webhooks
from masking.carriers.signature import signed_headers
from masking.carriers.simulator.application import ApplicationClient
from masking.carriers.simulator.applications import voice_application
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import Behaviour
from masking.carriers.simulator.records import CallRecord
from masking.carriers.simulator.server import build_app
from masking.carriers.voice.calls_api import CallsApi
from masking.carriers.voice.webhooks import PlivoWebhooks
from masking.domain.events import Answer, Call, Hangup, LegName, RecordingInitiated, Side
from masking.domain.routing import Announce, AskPin, Busy, Connect, Decision, Reason, Refuse, SayEnded
from masking.ports import serving
from tests.carriers.conftest import ALICE, AUTH_ID, BOB, NUMBER, SPEED, TOKEN, Application, until
from tests.carriers.similar import SimilarApi, SimilarWebhooks, similar_front, similar_headers
from tests.integration.conftest import free_port

pytestmark = pytest.mark.anyio


class Implementation(NamedTuple):
    """A carrier that has to keep this.

    Attributes:
        orders: what takes orders at a URL.
        headers: how it signs, from how Plivo would.
        front: its REST API, before the simulator's at a URL; None where that is as it is.
    """

    webhooks: Webhooks
    orders: Callable[[httpx.AsyncClient, str], Orders]
    headers: Callable[[Mapping[str, str]], dict[str, str]] = dict
    front: Callable[[str], web.Application] | None = None


CARRIERS: dict[str, Implementation] = {
    "voice": Implementation(PlivoWebhooks((TOKEN,)), lambda http, url: CallsApi(http, url, AUTH_ID, TOKEN)),
    "one that is similar": Implementation(
        SimilarWebhooks((TOKEN,)),
        lambda http, url: SimilarApi(http, url, AUTH_ID, TOKEN),
        similar_headers,
        similar_front,
    ),
}


@dataclass
class Carrier:
    """A carrier, the network behind it, and what it asks and tells."""

    webhooks: Webhooks
    orders: Orders
    headers: Callable[[Mapping[str, str]], dict[str, str]]
    network: Network
    application: Application

    def order(self) -> CallOrder:
        base = self.application.base
        return CallOrder(NUMBER, ALICE, f"{base}/answer", f"{base}/hangup", f"{base}/fallback", 30, 600)

    def answers(self, decision: Decision, path: str = "/answer") -> None:
        urls = {each.name: f"{self.application.base}/{each.name}" for each in fields(CallUrls)}
        self.application.documents[path] = self.webhooks.answer(decision, CallUrls(**urls))
        self.application.documents["/dial_done"] = self.webhooks.hang_up()

    async def over(self, record: CallRecord) -> CallRecord:
        await until(lambda: record.reported)
        return record


@pytest.fixture(params=CARRIERS)
async def carrier(
    request: pytest.FixtureRequest,
    application: Application,
    http: httpx.AsyncClient,
    tmp_path: Path,
) -> AsyncIterator[Carrier]:
    webhooks, orders, headers, front = CARRIERS[request.param]
    port, front_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    async with ApplicationClient(TOKEN) as client:
        network = Network(client, SimulatedClock(SPEED), tmp_path, f"{url}/media")
        network.inventory.bind(NUMBER, voice_application(f"{application.base}/answer", f"{application.base}/hangup"))
        async with serving(build_app(network), port), AsyncExitStack() as stack:
            if front is not None:
                await stack.enter_async_context(serving(front(url), front_port))
                url = f"http://127.0.0.1:{front_port}"
            yield Carrier(webhooks, orders(http, url), headers, network, application)
            await network.close()


def connect(*, record: bool = False) -> Connect:
    return Connect(
        caller_id=NUMBER,
        to=BOB,
        ring_timeout=30,
        call_time_limit=600,
        record="mp3" if record else None,
        play_to_callee="https://x.example/hello.mp3",
    )


def call(call_uuid: str, *, recorded: bool = False) -> Call:
    return Call(
        call_uuid=call_uuid, caller=Side.FIRST, from_number=ALICE, to_number=BOB, dialled=True, recorded=recorded
    )


async def test_it_calls_whom_it_is_told_to_and_says_so(carrier: Carrier) -> None:
    carrier.answers(Refuse(reason=Reason.UNKNOWN_CALLER))
    call_uuid = await carrier.orders.place(carrier.order())
    record = carrier.network.call(call_uuid)
    assert record is not None
    await carrier.over(record)
    assert (record.caller.number, record.caller.screen) == (ALICE, NUMBER)
    (asked,), (told,) = carrier.application.forms("/answer"), carrier.application.forms("/hangup")
    assert carrier.webhooks.inbound_call(asked) == InboundCall(call_uuid, NUMBER, ALICE)
    hangup = carrier.webhooks.caller_hangup(told, call(call_uuid), record.caller.began_at, record.caller.ended_at)  # type: ignore[arg-type]
    assert (hangup.leg, hangup.leg_uuid, hangup.duration) == (LegName.CALLER, call_uuid, record.caller.duration)
    with pytest.raises(CarrierRefused):
        await carrier.orders.place(carrier.order()._replace(from_number="+12025559999"))


async def test_what_it_posts_is_signed_and_nothing_else_is(carrier: Carrier) -> None:
    url, form = f"https://gateway.example{PATH}/answer?a=b", {"CallUUID": "x", "From": ALICE}
    headers = carrier.headers(signed_headers("POST", url, form, [TOKEN]))
    assert carrier.webhooks.are_signed("POST", url, form, headers)
    assert not carrier.webhooks.are_signed("POST", url, {**form, "From": BOB}, headers)
    assert not carrier.webhooks.are_signed("POST", f"{url}c", form, headers)
    assert not carrier.webhooks.are_signed("POST", url, form, {})
    others = carrier.headers(signed_headers("POST", url, form, ["another"]))
    assert not carrier.webhooks.are_signed("POST", url, form, others)


@pytest.mark.parametrize(
    "decision",
    [
        connect(),
        connect(record=True),
        AskPin(prompt_play="https://x.example/pin.mp3"),
        Announce(reason=Reason.UNKNOWN_CALLER, play_url="https://x.example/who.mp3"),
        SayEnded(),
        Busy(),
        Refuse(reason=Reason.UNKNOWN_CALLER),
    ],
    ids=lambda decision: type(decision).__name__,
)
async def test_it_takes_every_decision_as_we_write_it(carrier: Carrier, decision: Decision) -> None:
    carrier.answers(decision)
    carrier.application.documents |= {
        "/greeting": carrier.webhooks.greeting("https://x.example/hello.mp3"),
        "/pin": carrier.webhooks.farewell("Goodbye."),
    }
    carrier.network.phone(BOB).behaviour = Behaviour(hangs_up_after=5)
    record = await carrier.over(carrier.network.dial(ALICE, NUMBER))
    assert not [line.detail for line in record.transcript if line.what == "refused the XML"]
    assert (record.callee is not None) == isinstance(decision, Connect)


async def test_what_it_tells_of_a_conversation_is_what_it_tells_when_it_is_asked(carrier: Carrier) -> None:
    carrier.answers(connect(record=True))
    carrier.application.documents["/greeting"] = carrier.webhooks.greeting("")
    carrier.network.phone(BOB).behaviour = Behaviour(hangs_up_after=30)
    record = await carrier.over(carrier.network.dial(ALICE, NUMBER))
    known, at = call(record.call_uuid, recorded=True), record.recordings[0].added_at

    told = [carrier.webhooks.dial_event(form, known, at) for form in carrier.application.forms("/dial_event")]
    assert [type(event) for event in told] == [Answer, RecordingInitiated, Hangup]
    (form,) = carrier.application.forms("/hangup")
    caller = carrier.webhooks.caller_hangup(form, known, record.caller.began_at, at)
    (form,) = carrier.application.forms("/recording")
    recording = carrier.webhooks.recording_completed(form, known, at)

    asked = await missed(carrier.orders, known)
    for one, other in zip((caller, told[2]), asked.hangups, strict=True):
        assert isinstance(one, Hangup)
        for name in ("leg", "leg_uuid", "duration", "cause_code", "carrier_charge"):
            assert getattr(one, name) == getattr(other, name), name
    for name in ("recording_id", "url", "duration", "file_format"):
        assert getattr(recording, name) == getattr(asked.recordings[0], name), name


async def test_what_we_could_not_take_at_first_is_told_again(carrier: Carrier) -> None:
    carrier.answers(connect(record=True), "/answer")
    carrier.application.documents["/greeting"] = carrier.webhooks.greeting("")
    reports = ("/dial_event", "/hangup", "/recording")
    questions = ("/answer", "/dial_done")
    carrier.application.failures |= {path: [503] for path in (*reports, *questions)}
    carrier.network.phone(BOB).behaviour = Behaviour(hangs_up_after=5)
    call_uuid = await carrier.orders.place(carrier.order())
    record = carrier.network.call(call_uuid)
    assert record is not None
    await carrier.over(record)
    told = carrier.application.forms
    assert [form["DialAction"] for form in told("/dial_event")] == ["answer", "answer", "connected", "hangup"]
    assert {len(told(path)) for path in ("/hangup", "/recording", *questions)} == {2}
    assert not told("/fallback")


async def test_it_speaks_into_a_call_and_ends_it_and_what_has_ended_is_fine(carrier: Carrier) -> None:
    carrier.answers(connect())
    carrier.application.documents["/greeting"] = carrier.webhooks.greeting("")
    record = carrier.network.dial(ALICE, NUMBER)
    await until(lambda: record.callee is not None and record.callee.connected)
    await carrier.orders.speak(record.call_uuid, "soon over")
    assert [line.leg for line in record.transcript if line.detail == "soon over"] == ["caller", "callee"]
    await carrier.orders.hang_up(record.call_uuid)
    await carrier.over(record)
    assert record.caller.source == "API Request"
    await carrier.orders.hang_up(record.call_uuid)
    await carrier.orders.speak(record.call_uuid, "nobody is there")
    assert not await carrier.orders.transfer(record.call_uuid, f"{carrier.application.base}/farewell")


async def test_both_parties_of_a_call_that_is_transferred_hear_what_the_new_url_says(carrier: Carrier) -> None:
    carrier.answers(connect())
    carrier.application.documents |= {
        "/greeting": carrier.webhooks.greeting(""),
        "/farewell": carrier.webhooks.farewell("Goodbye, both of you."),
    }
    record = carrier.network.dial(ALICE, NUMBER)
    await until(lambda: record.callee is not None and record.callee.connected)
    assert await carrier.orders.transfer(record.call_uuid, f"{carrier.application.base}/farewell")
    await carrier.over(record)
    heard = [line.leg for line in record.transcript if line.detail == "Goodbye, both of you."]
    assert sorted(heard) == ["callee", "caller"]
    assert record.ended
    known = call(record.call_uuid)
    told = [
        carrier.webhooks.dial_event(form, known, record.caller.began_at)
        for form in carrier.application.forms("/dial_event")
    ]
    assert isinstance(told[-1], Hangup)


async def test_a_recording_is_handed_over_whole_until_it_is_deleted(carrier: Carrier) -> None:
    carrier.answers(connect(record=True))
    carrier.application.documents["/greeting"] = carrier.webhooks.greeting("")
    carrier.network.phone(BOB).behaviour = Behaviour(hangs_up_after=5)
    record = await carrier.over(carrier.network.dial(ALICE, NUMBER))
    (recording,) = await carrier.orders.recordings_of(record.call_uuid)
    async with carrier.orders.audio(recording.recording_url) as audio:
        content = b"".join([chunk async for chunk in audio.chunks])
    assert audio.size in (None, len(content))
    assert content == carrier.network.recordings.read(record.recordings[0].file)

    for _ in range(2):
        await carrier.orders.delete_recording(recording.recording_id)
    assert await carrier.orders.recordings_of(record.call_uuid) == ()
    with pytest.raises(CarrierRefused):
        async with carrier.orders.audio(recording.recording_url):
            pass
    with pytest.raises(CarrierRefused):
        await carrier.orders.delete_recording("")


async def test_it_tells_of_our_account_and_our_numbers(carrier: Carrier) -> None:
    runs = voice_application("https://gateway.example/answer", "https://gateway.example/hangup")
    ours = carrier.network.inventory.create("ours", runs)
    many = [f"+1202555{n:04d}" for n in range(45)]
    carrier.network.inventory.rent(many)
    carrier.network.inventory.attach(many[44], ours.app_id)
    account = await carrier.orders.account()
    assert (account.balance, account.refills) == (Decimal(100), False)
    numbers = await carrier.orders.numbers()
    assert set(numbers) == {NUMBER, *many}
    assert numbers[many[44]] == "https://gateway.example/answer"
    assert numbers[many[0]] is None
