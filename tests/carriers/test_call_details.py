"""The carrier's records of legs and recordings: how we read them, and how the simulator shows them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import plivo
import plivo.rest.client as plivo_client
import pytest

from masking.carriers.call_details import CallDetails, RecordingDetails
from masking.carriers.errors import CarrierRefused, CarrierUnavailable
from masking.carriers.missed import missed
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import Behaviour
from masking.carriers.voice.calls_api import CallsApi
from masking.ports import all_let_in
from tests.carriers.conftest import ALICE, AUTH_ID, BOB, NUMBER, TOKEN, Application
from tests.carriers.test_missed import connect, over
from tests.integration.conftest import free_port

pytestmark = pytest.mark.anyio


async def test_nobody_is_told_without_the_token_or_an_id(
    network: Network, application: Application, api: CallsApi, address: str, http: httpx.AsyncClient
) -> None:
    connect(application)
    network.phone(BOB).behaviour = Behaviour(on_ring="busy")
    call = await over(network.dial(ALICE, NUMBER))
    for stranger in (CallsApi(http, address, AUTH_ID, "not-the-token"), CallsApi(http, address, "me", TOKEN)):
        for ask in (stranger.find_call, stranger.legs_of, stranger.recordings_of):
            with pytest.raises(CarrierRefused, match="refused with 401"):
                await ask(call.call_uuid)
    for ask in (api.find_call, api.legs_of, api.recordings_of):
        with pytest.raises(CarrierRefused, match="without an id"):
            await ask("")


async def test_a_carrier_that_stalls_can_be_asked_again(http: httpx.AsyncClient) -> None:
    async def stall(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stalled.wait()
        writer.close()

    stalled = asyncio.Event()
    port = free_port()
    async with await asyncio.start_server(stall, "127.0.0.1", port):
        http.timeout = httpx.Timeout(30, read=0.1)
        api = CallsApi(http, f"http://127.0.0.1:{port}", AUTH_ID, TOKEN)
        for ask in (api.find_call, api.legs_of, api.recordings_of):
            with pytest.raises(CarrierUnavailable, match="did not answer: ReadTimeout") as raised:
                await ask("some-call")
            assert TOKEN not in str(raised.value)
        stalled.set()
        await all_let_in()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(429),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"objects": None, "call_uuid": None}),
        httpx.Response(200, json={"objects": [{"end_time": "now"}]}),
    ],
    ids=["failing", "too many", "no JSON", "no object", "nothing in it", "no id"],
)
async def test_an_answer_that_tells_nothing_can_be_asked_for_again(answer: httpx.Response) -> None:
    api = CallsApi(
        httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer)), "http://carrier.example", AUTH_ID, TOKEN
    )
    for ask in (api.find_call, api.legs_of, api.recordings_of):
        with pytest.raises(CarrierUnavailable):
            await ask("some-call")


async def test_a_list_that_is_not_there_is_no_empty_list() -> None:
    gone = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(404)))
    api = CallsApi(gone, "http://carrier.example", AUTH_ID, TOKEN)
    assert await api.find_call("some-call") is None
    for ask in (api.legs_of, api.recordings_of):
        with pytest.raises(CarrierRefused, match="404"):
            await ask("some-call")


async def test_a_carrier_that_ignores_the_filter_betrays_no_other_call() -> None:
    objects = [
        {"call_uuid": "leg", "parent_call_uuid": "mine", "recording_id": "r1"},
        {"call_uuid": "mine", "parent_call_uuid": None, "recording_id": "r2"},
        {"call_uuid": "other", "parent_call_uuid": "theirs", "recording_id": "r3"},
    ]
    everything = httpx.MockTransport(lambda _: httpx.Response(200, json={"objects": objects}))
    api = CallsApi(httpx.AsyncClient(transport=everything), "http://carrier.example", AUTH_ID, TOKEN)
    assert [leg.call_uuid for leg in await api.legs_of("mine")] == ["leg"]
    assert [recording.recording_id for recording in await api.recordings_of("mine")] == ["r2"]


def test_records_are_read_tolerantly() -> None:
    leg = CallDetails.model_validate_json(
        '{"call_uuid": "x", "call_duration": "61.00", "hangup_cause_code": "4000", "hangup_cause_name": null,'
        ' "answer_time": "2026-01-02 15:00:05.250+05:30", "end_time": "2026-01-02 09:31:06", "parent_call_uuid": null,'
        ' "initiation_time": "long ago", "total_rate": 0.005, "unheard_of": {"a": [1]}}'
    )
    assert (leg.call_duration, leg.hangup_cause_code, leg.hangup_cause_name) == (61, 4000, "")
    assert leg.answer_time == datetime(2026, 1, 2, 9, 30, 5, 250_000, tzinfo=UTC)
    assert leg.end_time == datetime(2026, 1, 2, 9, 31, 6, tzinfo=UTC)
    assert (leg.parent_call_uuid, leg.initiation_time) == ("", None)
    nonsense: object
    for nonsense in ("1e999", "NaN", "-1", "many", None, [], {}):
        assert CallDetails.model_validate({"call_uuid": "x", "call_duration": nonsense}).call_duration == 0

    recording = RecordingDetails.model_validate(
        {"recording_id": 7, "recording_duration_ms": "7560.00000", "recording_start_ms": "1767346205250.00000"}
    )
    assert (recording.recording_id, recording.recording_duration_ms) == ("7", 7560)
    assert recording.recording_start_ms == datetime(2026, 1, 2, 9, 30, 5, 250_000, tzinfo=UTC)


async def get(api: httpx.AsyncClient, url: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await api.get(url, auth=(AUTH_ID, TOKEN))).json()
    return answer


async def test_the_simulator_shows_legs_and_recordings_in_plivos_shapes(
    network: Network, application: Application, address: str, http: httpx.AsyncClient
) -> None:
    connect(application)
    network.phone(ALICE).behaviour = Behaviour(hidden=True)
    network.phone(BOB).behaviour = Behaviour(hangs_up_after=30)
    record = network.dial(ALICE, NUMBER)
    call = await over(record)
    account = f"{address}/v1/Account/{AUTH_ID}"

    caller = await get(http, f"{account}/Call/{call.call_uuid}/")
    legs = await get(http, f"{account}/Call/?parent_call_uuid={call.call_uuid}")
    recordings = await get(http, f"{account}/Recording/?call_uuid={call.call_uuid}")

    (callee,), (recording,) = legs["objects"], recordings["objects"]
    for each in (caller, callee):
        for name in ("answer_time", "end_time", "initiation_time"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", each.pop(name))
        assert each.pop("bill_duration") == each["call_duration"]
        assert each.pop("billed_duration") == -(-each["call_duration"] // 60) * 60
        assert each.pop("resource_uri") == f"/v1/Account/{AUTH_ID}/Call/{each['call_uuid']}/"
    hung_up = {"hangup_cause_code": 4000, "hangup_cause_name": "Normal Hangup", "hangup_source": "Callee"}
    assert callee == hung_up | {
        "call_direction": "outbound", "call_duration": record.legs[1].duration, "call_state": "ANSWER",
        "call_uuid": record.legs[1].leg_uuid, "from_number": NUMBER[1:], "parent_call_uuid": call.call_uuid,
        "to_number": BOB[1:], "total_amount": f"{record.legs[1].cost:.5f}", "total_rate": "0.00500",
    }  # fmt: skip
    assert (caller["from_number"], caller["to_number"]) == ("anonymous", NUMBER[1:])
    assert (caller["call_direction"], caller["parent_call_uuid"]) == ("inbound", None)
    assert callee.items() <= (await get(http, f"{account}/Call/{callee['call_uuid']}/")).items()
    assert legs["meta"] == {"limit": 20, "next": None, "offset": 0, "previous": None, "total_count": 1}

    form = application.forms("/recording")[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00", recording.pop("add_time"))
    assert recording == {
        "call_uuid": call.call_uuid, "conference_name": None, "from_number": "anonymous", "to_number": NUMBER[1:],
        "recording_duration_ms": f"{form['RecordingDurationMs']}.00000",
        "recording_end_ms": f"{form['RecordingEndMs']}.00000", "recording_format": "wav",
        "recording_id": form["RecordingID"], "recording_start_ms": f"{form['RecordingStartMs']}.00000",
        "recording_type": "normal", "recording_url": form["RecordUrl"],
        "rounded_recording_duration": record.legs[1].bill_duration,
        "resource_uri": f"/v1/Account/{AUTH_ID}/Recording/{form['RecordingID']}/",
    }  # fmt: skip


async def test_the_simulators_lists_have_pages_and_refuse_what_they_cannot_look_for(
    network: Network, application: Application, address: str, http: httpx.AsyncClient
) -> None:
    application.documents["/answer"] = '<Response><Hangup reason="busy"/></Response>'
    for _ in range(3):
        await over(network.dial(ALICE, NUMBER))
    path = f"/v1/Account/{AUTH_ID}/Call/"
    first = await get(http, f"{address}{path}?limit=2")
    second = await get(http, f"{address}{first['meta']['next']}")

    assert first["meta"]["next"] == f"{path}?limit=2&offset=2"
    assert second["meta"] == {
        "limit": 2, "next": None, "offset": 2, "previous": f"{path}?limit=2&offset=0", "total_count": 3,
    }  # fmt: skip
    legs = [*first["objects"], *second["objects"]]
    assert [leg["call_uuid"] for leg in legs] == [record.call_uuid for record in network.calls()]
    assert {(leg["call_state"], leg["answer_time"], leg["call_duration"]) for leg in legs} == {("NO_ANSWER", None, 0)}
    for query in ("limit=0", "limit=21", "offset=-1", "limit=many", "end_time__gt=2026-01-01"):
        answer = await http.get(f"{address}{path}?{query}", auth=(AUTH_ID, TOKEN))
        assert (answer.status_code, list(answer.json())) == (400, ["api_id", "error"])


@pytest.fixture
def sdk(address: str, monkeypatch: pytest.MonkeyPatch) -> plivo.RestClient:
    # Voice calls use a base URL of their own that only these module variables set (plivo-wire.md §2).
    for name in ("API_VOICE_BASE_URI", "API_VOICE_BASE_URI_FALLBACK_1", "API_VOICE_BASE_URI_FALLBACK_2"):
        monkeypatch.setattr(plivo_client, name, f"{address}/v1/Account")
    return plivo.RestClient(AUTH_ID, TOKEN)


async def test_plivos_own_sdk_reads_the_same(
    network: Network, application: Application, api: CallsApi, sdk: plivo.RestClient
) -> None:
    def ask(operation: Callable[..., Any], **arguments: Any) -> Any:
        return asyncio.to_thread(operation, **arguments)

    connect(application)
    network.phone(BOB).behaviour = Behaviour(hangs_up_after=30)
    call = await over(network.dial(ALICE, NUMBER))

    caller = await ask(sdk.calls.get, call_uuid=call.call_uuid)
    (callee,) = await ask(sdk.calls.list, parent_call_uuid=call.call_uuid)
    (recording,) = await ask(sdk.recordings.list, call_uuid=call.call_uuid)
    with pytest.raises(plivo.exceptions.ResourceNotFoundError, match="not found"):
        await ask(sdk.calls.get, call_uuid="never")

    assert CallDetails.model_validate(vars(caller)) == await api.find_call(call.call_uuid)
    assert (CallDetails.model_validate(vars(callee)),) == await api.legs_of(call.call_uuid)
    assert (RecordingDetails.model_validate(vars(recording)),) == await api.recordings_of(call.call_uuid)
    found = await missed(api, call)
    assert [hangup.duration for hangup in found.hangups] == [caller.call_duration, callee.call_duration]
    assert found.recordings[0].url == recording.recording_url
