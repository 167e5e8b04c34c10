"""An account sees what became of its callbacks and has them sent again, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from masking.privacy.keyring import Keyring
from tests.conftest import ACCOUNT, TOKEN
from tests.delivery.test_sender import Customer, until
from tests.integration.conftest import System
from tests.integration.test_accounts import FRENCH_PARTIES, signed_in, subaccount
from tests.integration.test_sessions_api import create, error_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def more_settings() -> dict[str, Any]:
    """What is not taken at the first try is dead."""
    return {"callback_give_up_after": 1, "callback_longest_pause": 2}


@pytest.fixture
async def customer() -> AsyncIterator[Customer]:
    async with Customer().listening() as customer:
        yield customer


def callbacks_of(system: System, auth_id: str = ACCOUNT) -> str:
    return f"{system.settings.base_url}/v1/Account/{auth_id}/Masking/Callback/"


async def expired_session(system: System, customer: Customer, **arguments: Any) -> str:
    """A session whose customer was told of its end and did not take it."""
    # Enough for all: another session's callback may come after this one's, or its own a second time.
    customer.statuses = [500] * 20
    url = customer.url()
    created = await create(system, callback_url=url, **arguments)
    uuid: str = created.json()["session_uuid"]
    assert (await system.http.delete(f"{system.api}/{uuid}/")).status_code == 200
    return uuid


async def dead_ones(http: httpx.AsyncClient, url: str, count: int = 1) -> list[dict[str, Any]]:
    """Those that were given up, once there are so many."""
    async with asyncio.timeout(20):
        while len(found := (await http.get(url)).json()["response"]["objects"]) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return list(found)


async def test_a_dead_callback_is_listed_shown_with_its_tries_and_sent_again(
    system: System, customer: Customer
) -> None:
    customer.says = "out of order"
    uuid = await expired_session(system, customer)
    url = callbacks_of(system)
    (dead,) = await dead_ones(system.http, url)
    assert dead["callback_id"] == f"{uuid}:session:1"
    assert (dead["state"], dead["attempts"], dead["last_outcome"]) == ("dead", 1, "HTTP 500")
    assert (dead["due_time"], dead["delivered_time"]) == (None, None)

    shown = (await system.http.get(f"{system.settings.base_url}{dead['resource_uri']}")).json()["response"]
    assert {key: shown[key] for key in dead} == dead
    assert (shown["event_name"], shown["method"], shown["url"]) == ("SessionTimeout", "POST", customer.url())
    assert shown["params"]["SessionUUID"] == uuid
    (tried,) = shown["tries"]
    assert (tried["outcome"], tried["status"], tried["answer"]) == ("HTTP 500", 500, "out of order")

    customer.statuses.clear()
    customer.taken.clear()
    again = await system.http.post(f"{url}Replay/", json={"callback_ids": [dead["callback_id"]]})
    assert (again.status_code, again.json()["replayed"]) == (200, 1)
    await until(lambda: customer.taken == ["1"])
    async with asyncio.timeout(20):
        while shown["state"] != "delivered":
            await asyncio.sleep(0.05)
            shown = (await system.http.get(f"{url}{dead['callback_id']}")).json()["response"]
    assert [each["status"] for each in shown["tries"]] == [500, 200]
    assert shown["delivered_time"] is not None
    assert (await system.http.get(url)).json()["response"]["objects"] == []


async def test_pages_follow_each_other_in_order(system: System, customer: Customer) -> None:
    uuids = [await expired_session(system, customer) for _ in range(3)]
    await dead_ones(system.http, callbacks_of(system), 3)
    url: str | None = f"{callbacks_of(system)}?session_uuid={uuids[1]}&state=all&limit=1"
    assert url is not None
    (one,) = (await system.http.get(url)).json()["response"]["objects"]
    assert one["session_uuid"] == uuids[1]

    url, found = f"{callbacks_of(system)}?limit=2&kind=session&unknown=1", []
    while url is not None:
        page = (await system.http.get(url)).json()["response"]
        found += [each["session_uuid"] for each in page["objects"]]
        following = page["meta"]["next"]
        assert following is None or "unknown" not in following
        url = following and f"{system.settings.base_url}{following}"
    assert found == uuids
    none = await system.http.get(callbacks_of(system), params={"kind": "recording"})
    assert none.json()["response"] == {"meta": {"limit": 20, "next": None}, "objects": []}


async def test_all_dead_ones_or_a_sessions_are_sent_again(system: System, customer: Customer) -> None:
    one, two = [await expired_session(system, customer) for _ in range(2)]
    await dead_ones(system.http, callbacks_of(system), 2)
    customer.statuses.clear()
    customer.taken.clear()

    async def replayed(**wanted: object) -> int:
        answer = await system.http.post(f"{callbacks_of(system)}Replay", json=wanted)
        count: int = answer.json()["replayed"]
        return count

    assert await replayed(session_uuid=one, from_sequence=2) == 0
    assert await replayed(session_uuid=one, kind="recording") == 0
    assert await replayed(session_uuid=one, from_sequence=1) == 1
    await until(lambda: len(customer.taken) == 1)
    (left,) = (await system.http.get(callbacks_of(system))).json()["response"]["objects"]
    assert left["session_uuid"] == two
    assert await replayed(only_dead=True) == 1
    await until(lambda: len(customer.taken) == 2)


async def test_only_the_accounts_own_are_seen_and_sent_again(
    system: System, keyring: Keyring, customer: Customer
) -> None:
    sub, other = await subaccount(system, keyring), await subaccount(system, keyring)
    uuid = await expired_session(system, customer, **FRENCH_PARTIES, subaccount=sub.auth_id)
    (dead,) = await dead_ones(system.http, callbacks_of(system))
    assert dead["session_uuid"] == uuid, "a main account sees its subaccounts'"
    customer.statuses.clear()

    async with signed_in(sub) as own, signed_in(other) as stranger:
        address = f"{callbacks_of(system, sub.auth_id)}{dead['callback_id']}/"
        assert (await own.get(address)).json()["response"]["params"]["SessionUUID"] == uuid
        assert error_of(await stranger.get(address)) == (401, "authentication failed")
        theirs = callbacks_of(system, other.auth_id)
        assert error_of(await stranger.get(f"{theirs}{dead['callback_id']}/")) == (404, "not found")
        assert (await stranger.get(theirs)).json()["response"]["objects"] == []
        for wanted in ({"callback_ids": [dead["callback_id"]]}, {"session_uuid": uuid}, {"only_dead": True}):
            assert (await stranger.post(f"{theirs}Replay/", json=wanted)).json()["replayed"] == 0
        mine = callbacks_of(system, sub.auth_id)
        assert (await own.post(f"{mine}Replay/", json={"only_dead": True})).json()["replayed"] == 1


async def test_an_endpoint_that_keeps_failing_is_told_to_its_account_only(
    system: System, keyring: Keyring, customer: Customer
) -> None:
    other = await subaccount(system, keyring)
    for _ in range(3):
        await expired_session(system, customer)
    await dead_ones(system.http, callbacks_of(system), 3)
    (told,) = (await system.http.get(f"{callbacks_of(system)}Endpoint/")).json()["response"]
    assert (told["auth_id"], told["endpoint"]) == (ACCOUNT, f"http://127.0.0.1:{customer.port}")
    assert (told["failures"], told["last_outcome"]) == (3, "HTTP 500")
    async with signed_in(other) as http:
        assert (await http.get(f"{callbacks_of(system, other.auth_id)}Endpoint/")).json()["response"] == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "Mandatory parameter missing. callback_ids, session_uuid or only_dead must be present."),
        ({"from_sequence": 1, "only_dead": True}, "Invalid parameter. from_sequence needs session_uuid."),
        ({"callback_ids": []}, "Invalid parameter. callback_ids is not valid."),
        ({"callback_ids": ["x'"]}, "Invalid parameter. callback_ids is not valid."),
        ({"session_uuid": "x", "kind": "all"}, "Invalid parameter. kind allowed values are session or recording."),
        ({"session_uuid": "x", "from_sequence": 0}, "Invalid parameter. from_sequence is outside the allowed range."),
    ],
)
async def test_what_cannot_be_sent_again_is_named(system: System, body: dict[str, Any], sentence: str) -> None:
    assert error_of(await system.http.post(f"{callbacks_of(system)}Replay/", json=body)) == (400, sentence)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("state=lost", "Invalid parameter. state allowed values are dead, pending, delivered or all."),
        ("state=all", "Invalid parameter. state without session_uuid should be dead or pending."),
        ("limit=101", "Invalid parameter. limit should be a whole number from 1 to 100."),
        ("after=1", "Invalid parameter. after is not valid."),
    ],
)
async def test_what_cannot_be_listed_is_named(system: System, query: str, sentence: str) -> None:
    assert error_of(await system.http.get(f"{callbacks_of(system)}?{query}")) == (400, sentence)


async def test_it_needs_the_accounts_credentials(system: System) -> None:
    async with httpx.AsyncClient() as nobody, httpx.AsyncClient(auth=(ACCOUNT, TOKEN + "x")) as wrong:
        for http in (nobody, wrong):
            for method, tail in (("GET", ""), ("GET", "Endpoint/"), ("GET", "a:session:1/"), ("POST", "Replay/")):
                answer = await http.request(method, f"{callbacks_of(system)}{tail}")
                assert error_of(answer) == (401, "authentication failed")
