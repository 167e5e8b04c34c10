"""Calls that an application orders by the network's REST API."""

from __future__ import annotations

import httpx
import pytest

from masking.carriers.errors import CarrierUnavailable
from masking.carriers.simulator.application import Webhook
from masking.carriers.simulator.call import Call
from masking.carriers.simulator.call_parts import Order, Transfer
from masking.carriers.simulator.elements import Dial
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import Behaviour
from masking.carriers.simulator.request_limit import RequestLimit
from masking.carriers.simulator.server import build_app
from masking.carriers.simulator.voice_xml import read_xml
from masking.carriers.voice.calls_api import CallsApi
from masking.ports import serving
from tests.carriers.conftest import ALICE, BOB, NUMBER, TOKEN, Application, heard, until
from tests.integration.conftest import free_port

pytestmark = pytest.mark.anyio


async def test_the_rest_api_places_speaks_into_and_ends_calls_for_who_has_the_token(
    network: Network, application: Application
) -> None:
    application.documents["/placed"] = (
        f'<Response><Dial callerId="{NUMBER[1:]}"><Number>{BOB[1:]}</Number></Dial></Response>'
    )
    auth_id = "MACARRIER00000000000"
    order = {
        "from": NUMBER[1:], "to": ALICE[1:], "answer_url": f"{application.base}/placed",
        "hangup_url": f"{application.base}/hangup", "ring_timeout": 20, "time_limit": 600,
    }  # fmt: skip
    async with (
        serving(build_app(network), free_port()) as url,
        httpx.AsyncClient(auth=(auth_id, TOKEN)) as http,
        httpx.AsyncClient(auth=(auth_id, "no")) as thief,
    ):
        calls = f"{url}/v1/Account/{auth_id}/Call/"
        assert (await thief.post(calls, json=order)).status_code == 401
        assert (await http.post(calls, json=order | {"from": "12025550111"})).status_code == 400
        assert (await http.post(calls, json=order | {"time_limit": 0})).status_code == 400
        placed = await http.post(calls, json=order)
        assert (placed.status_code, placed.json()["message"]) == (201, "call fired")
        call_uuid = placed.json()["request_uuid"]
        record = network.call(call_uuid)
        assert record is not None
        await until(lambda: network.phone(BOB).state == "talking")
        assert record.caller.screen == record.callees[0].screen == NUMBER

        assert (await thief.delete(f"{calls}{call_uuid}/")).status_code == 401
        said = await http.post(f"{calls}{call_uuid}/Speak/", json={"text": "Time is up.", "legs": "both"})
        assert said.status_code == 202
        assert heard(record) == heard(record, "callee") == ["Time is up."]
        for leg in ({}, {"legs": "aleg"}, {"legs": "bleg"}):
            assert (await http.post(f"{calls}{call_uuid}/Speak/", json={"text": "Hm.", **leg})).status_code == 202
        assert (heard(record), heard(record, "callee")) == (["Time is up.", "Hm.", "Hm."], ["Time is up.", "Hm."])
        assert (await http.delete(f"{calls}{call_uuid}/")).status_code == 204
        await until(lambda: record.reported)
        gone = await http.delete(f"{calls}{call_uuid}/")
        assert (gone.status_code, gone.json()["error"], "api_id" in gone.json()) == (404, "not found", True)
    form = application.forms("/placed")[0]
    assert (form["Direction"], form["From"], form["To"]) == ("outbound", NUMBER[1:], ALICE[1:])
    ended = application.forms("/hangup")[0]
    assert (ended["HangupSource"], ended["CallStatus"]) == ("API Request", "completed")


async def test_no_call_lasts_longer_than_a_day_whatever_its_limit(
    network: Network, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    monkeypatch.setattr(Call, "_end_in", lambda _, seconds: limits.append(seconds))
    application.documents["/placed"] = "<Response><Hangup/></Response>"
    order = {"from": NUMBER[1:], "to": ALICE[1:], "answer_url": f"{application.base}/placed", "time_limit": 90_000}
    async with (
        serving(build_app(network), free_port()) as url,
        httpx.AsyncClient(auth=("MACARRIER00000000000", TOKEN)) as http,
    ):
        placed = await http.post(f"{url}/v1/Account/MACARRIER00000000000/Call/", json=order)
        assert placed.status_code == 201
        await until(lambda: bool(limits))
    assert limits == [86_400]
    (dial,) = read_xml(b'<Response><Dial timeLimit="90000"><Number>12025550101</Number></Dial></Response>', "text/xml")
    assert isinstance(dial, Dial)
    assert dial.limit_seconds == 86_400


async def test_a_placed_calls_time_limit_ends_it(network: Network, application: Application) -> None:
    application.documents["/placed"] = '<Response><Wait length="600"/></Response>'
    order = Order(Webhook(f"{application.base}/placed"), Webhook(f"{application.base}/hangup"), 20, 30)
    record = network.place(NUMBER, ALICE, order)
    await until(lambda: record.reported)
    assert record.caller.cause.code == 6000
    assert 29 <= record.caller.duration <= 60


async def test_a_call_that_is_ended_before_its_answer_is_canceled(network: Network, application: Application) -> None:
    network.phone(ALICE).behaviour = Behaviour(on_ring="manual")
    order = Order(Webhook(f"{application.base}/placed"), Webhook(f"{application.base}/hangup"), 20, 30)
    record = network.place(NUMBER, ALICE, order)
    await until(lambda: network.phone(ALICE).state == "ringing")
    live = network.live(record.call_uuid)
    assert live is not None
    live.end()
    await until(lambda: record.reported)
    (told,) = application.forms("/hangup")
    assert (told["HangupCauseCode"], told["HangupSource"], told["CallStatus"]) == ("1000", "API Request", "cancel")


async def test_the_71st_transfer_of_a_call_ends_it_as_a_loop(network: Network, application: Application) -> None:
    application.documents["/placed"] = application.documents["/on"] = '<Response><Wait length="600"/></Response>'
    order = Order(Webhook(f"{application.base}/placed"), Webhook(f"{application.base}/hangup"), 20, 600)
    record = network.place(NUMBER, ALICE, order)
    await until(lambda: record.caller.answered_at is not None)
    live, onward = network.live(record.call_uuid), Transfer(Webhook(f"{application.base}/on"), Webhook(""))
    assert live is not None
    asked = application.forms
    for times in range(1, 71):
        live.transfer(onward)
        await until(lambda times=times: len(asked("/on")) == times)  # type: ignore[misc]
    assert not record.ended
    live.transfer(onward)
    await until(lambda: record.reported)
    assert (record.caller.cause.code, len(asked("/on"))) == (2060, 70)


async def test_an_account_that_asks_more_than_300_times_in_5_s_is_refused_until_some_have_passed(
    network: Network, api: CallsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(network, "request_limit", RequestLimit(lambda: now))
    for _ in range(300):
        await api.find_call("none")
    with pytest.raises(CarrierUnavailable, match="takes no more requests"):
        await api.find_call("none")
    now += 5
    await api.find_call("none")
