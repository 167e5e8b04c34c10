"""Accounts, subaccounts, tokens, and how much each may ask."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import httpx
import plivo.utils
import pytest
from pydantic import SecretStr

from masking.errors import StartupError
from masking.gateway.request_limit import RequestLimiter
from masking.privacy.keyring import Keyring
from masking.provision import demo_account, provision_demo
from masking.settings import Settings
from masking.storage import accounts
from masking.storage.database import Database
from masking.tls import trusted
from tests.conftest import ACCOUNT, TOKEN
from tests.integration.conftest import Receiver, System
from tests.integration.reported_calls import rest_of_call, ring_at
from tests.integration.telephone import heard
from tests.integration.test_sessions_api import PARTIES, create, error_of

pytestmark = pytest.mark.anyio

FRENCH = [("+33140000001", "FR"), ("+33140000002", "FR")]
FRENCH_PARTIES = {"first_party": "+33612345678", "second_party": "+33612345679"}


async def subaccount(system: System, keyring: Keyring) -> accounts.NewToken:
    """A subaccount with numbers of its own."""
    async with system.database.transaction() as connection:
        made = await accounts.create_account(connection, keyring, parent_id=ACCOUNT)
        await accounts.ensure_numbers(connection, made.auth_id, FRENCH)
    return made


def signed_in(account: accounts.NewToken) -> httpx.AsyncClient:
    return httpx.AsyncClient(auth=(account.auth_id, account.auth_token), timeout=10, verify=trusted())


def sessions_of(system: System, auth_id: str) -> str:
    return f"{system.settings.base_url}/v1/Account/{auth_id}/Masking/Session/"


async def test_a_subaccount_uses_its_own_numbers_only_whoever_asks(system: System, keyring: Keyring) -> None:
    sub = await subaccount(system, keyring)

    named = await create(system, **FRENCH_PARTIES, subaccount=sub.auth_id)
    async with signed_in(sub) as http:
        own = await http.post(sessions_of(system, sub.auth_id), json=FRENCH_PARTIES)
        american = await http.post(sessions_of(system, sub.auth_id), json=PARTIES)
    mains = await create(system, **FRENCH_PARTIES)

    assert {named.json()["virtual_number"], own.json()["virtual_number"]} == {number for number, _ in FRENCH}
    assert error_of(american) == (400, "Number pool exhausted or not available.")
    assert error_of(mains) == (400, "Number pool exhausted or not available.")


async def test_a_main_account_sees_its_subaccounts_sessions_and_a_subaccount_its_own(
    system: System, keyring: Keyring
) -> None:
    one, two = await subaccount(system, keyring), await subaccount(system, keyring)
    of_main = (await create(system)).json()["session_uuid"]
    of_one = (await create(system, **FRENCH_PARTIES, subaccount=one.auth_id)).json()["session_uuid"]

    async def visible(http: httpx.AsyncClient, auth_id: str, **filters: str) -> set[str]:
        listed = (await http.get(sessions_of(system, auth_id), params=filters)).json()["response"]["objects"]
        return {session["session_uuid"] for session in listed}

    async with signed_in(one) as as_one, signed_in(two) as as_two:
        assert await visible(as_one, one.auth_id) == {of_one}
        assert await visible(as_two, two.auth_id) == set()
        assert await visible(as_two, two.auth_id, subaccount=one.auth_id) == set()
        for method in ("GET", "POST", "DELETE"):
            foreign = await as_two.request(method, f"{sessions_of(system, two.auth_id)}{of_one}/", json={})
            assert error_of(foreign) == (404, "not found"), method
            mains = await as_one.request(method, f"{sessions_of(system, one.auth_id)}{of_main}/", json={})
            assert error_of(mains) == (404, "not found"), method
    assert await visible(system.http, ACCOUNT) == {of_main, of_one}
    assert await visible(system.http, ACCOUNT, subaccount=one.auth_id) == {of_one}


async def test_a_sessions_resources_are_where_whoever_reads_it_finds_them(system: System, keyring: Keyring) -> None:
    sub = await subaccount(system, keyring)
    async with signed_in(sub) as as_sub:
        addresses = {ACCOUNT: (system.http, sessions_of(system, ACCOUNT))}
        addresses[sub.auth_id] = (as_sub, sessions_of(system, sub.auth_id))
        for creator in (sub.auth_id, ACCOUNT):
            http, sessions = addresses[creator]
            body = FRENCH_PARTIES | {"record": True, "subaccount": sub.auth_id}
            session, call_uuid = (await http.post(sessions, json=body)).json()["session"], str(uuid4())
            await rest_of_call(
                system, await ring_at(system, session["virtual_number"], "33612345679", call_uuid), call_uuid
            )
            await http.delete(f"{sessions}{session['session_uuid']}/")
            await system.sessions.final_bill(session["session_uuid"])
            for reader, (http, sessions) in addresses.items():
                one = (await http.get(f"{sessions}{session['session_uuid']}/")).json()["response"]
                (listed,) = (await http.get(sessions, params={"limit": "1"})).json()["response"]["objects"]
                assert listed["interaction"] == one["interaction"]
                names = ("first_party_resource_url", "second_party_resource_url", "recording_resource_url")
                for url in [one["interaction"][0][name] for name in names]:
                    assert url.startswith(f"{system.settings.base_url}/v1/Account/{reader}/")
                    found = await http.get(url)
                    assert found.status_code == 200, (creator, reader, url)
                # The carrier of this test has no audio.
                assert (await http.get(found.json()["recording_url"])).status_code == 502


async def test_another_accounts_sessions_do_not_exist_and_its_credentials_open_nothing_else(
    system: System, keyring: Keyring
) -> None:
    session = (await create(system)).json()["session_uuid"]
    async with system.database.transaction() as connection:
        other = await accounts.create_account(connection, keyring)
    async with signed_in(other) as http:
        assert error_of(await http.get(f"{sessions_of(system, other.auth_id)}{session}/")) == (404, "not found")
        assert error_of(await http.get(f"{sessions_of(system, ACCOUNT)}{session}/"))[0] == 401
        theirs = await http.post(
            sessions_of(system, other.auth_id),
            json=PARTIES | {"subaccount": (await subaccount(system, keyring)).auth_id},
        )
    assert error_of(theirs) == (
        400,
        "Invalid parameter. subaccount should be the auth ID of a subaccount of yours.",
    )


async def test_a_rotated_token_is_valid_beside_the_old_one_and_both_sign_callbacks(
    system: System, keyring: Keyring, receiver: Receiver
) -> None:
    async with system.database.transaction() as connection:
        new = await accounts.rotate_token(connection, keyring, ACCOUNT, timedelta(hours=1))
    async with signed_in(new) as http:
        assert (await http.get(sessions_of(system, ACCOUNT))).status_code == 200
    session = (await create(system, callback_url=receiver.url)).json()["session_uuid"]
    await system.http.delete(f"{system.api}/{session}/")
    await system.sessions.final_bill(session)
    await heard(receiver, "SessionTimeout")
    assert len(receiver.headers[0]["X-Plivo-Signature-V3"].split(",")) == 2

    async with system.database.transaction() as connection:
        newest = await accounts.rotate_token(connection, keyring, ACCOUNT, timedelta(0))
    async with signed_in(new) as http:
        assert (await http.get(sessions_of(system, ACCOUNT))).status_code == 401
    async with signed_in(newest) as http:
        assert (await http.get(sessions_of(system, ACCOUNT))).status_code == 200


async def test_a_subaccounts_callbacks_are_signed_with_its_token_and_with_that_of_its_main_account(
    system: System, keyring: Keyring, receiver: Receiver
) -> None:
    sub = await subaccount(system, keyring)
    session = await create(system, **FRENCH_PARTIES, subaccount=sub.auth_id, callback_url=receiver.url)
    await system.http.delete(f"{system.api}/{session.json()['session_uuid']}/")
    await heard(receiver, "SessionTimeout")
    (told,), (headers,) = receiver.requests, receiver.headers

    def accepted(header: str, token: str) -> bool:
        nonce = headers["X-Plivo-Signature-V3-Nonce"]
        return bool(plivo.utils.validate_v3_signature("POST", receiver.url, nonce, token, headers[header], told))

    tokens = (sub.auth_token, TOKEN)
    assert [accepted("X-Plivo-Signature-V3", token) for token in tokens] == [True, False]
    assert [accepted("X-Plivo-Signature-Ma-V3", token) for token in tokens] == [False, True]


async def test_a_disabled_account_lets_nobody_in_nor_do_its_subaccounts(system: System, keyring: Keyring) -> None:
    sub = await subaccount(system, keyring)
    async with system.database.transaction() as connection:
        await accounts.disable_account(connection, ACCOUNT)

    assert (await system.http.get(sessions_of(system, ACCOUNT))).status_code == 401
    async with signed_in(sub) as http:
        assert (await http.get(sessions_of(system, sub.auth_id))).status_code == 401


async def test_a_start_of_the_demo_system_leaves_a_rotated_token_away(
    database: Database, migrated_url: str, keyring: Keyring
) -> None:
    settings = Settings()
    first = await provision_demo(settings, migrated_url, keyring, print)
    assert first == demo_account(settings, keyring)
    async with database.transaction() as connection:
        rotated = await accounts.rotate_token(connection, keyring, first.auth_id, timedelta(0))

    again = await provision_demo(settings, migrated_url, keyring, print)
    assert again.auth_token == rotated.auth_token
    async with database.transaction() as connection:
        assert await accounts.authenticate(connection, keyring, *first) is None
        assert await accounts.authenticate(connection, keyring, *again) is not None


async def test_a_demo_token_that_is_given_is_valid_after_a_start_beside_the_others(
    database: Database, migrated_url: str, keyring: Keyring
) -> None:
    first = await provision_demo(Settings(), migrated_url, keyring, print)
    given = await provision_demo(Settings(demo_auth_token=SecretStr("chosen")), migrated_url, keyring, print)

    assert given.auth_token == "chosen"
    async with database.transaction() as connection:
        for account in (first, given):
            assert await accounts.authenticate(connection, keyring, *account) is not None
    with pytest.raises(StartupError, match="not those that this database was written with: k1 is another"):
        await provision_demo(Settings(), migrated_url, Keyring({"k1": b"3" * 32}, "k1", b"2" * 32), print)


async def test_tokens_are_stored_hashed_and_sealed_never_as_they_are(database: Database, keyring: Keyring) -> None:
    async with database.transaction() as connection:
        made = await accounts.create_account(connection, keyring)
        rows = await (await connection.execute("SELECT t::text FROM tokens t")).fetchall()

    assert len(rows) == 2
    assert made.auth_token not in json.dumps(rows)
    assert made.auth_token.encode().hex() not in json.dumps(rows)


async def test_too_many_requests_are_told_when_to_come_back(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    limiter, count = RequestLimiter(3, 60.0), RequestLimiter.seconds_to_wait
    monkeypatch.setattr(RequestLimiter, "seconds_to_wait", lambda _, account: count(limiter, account))
    answers = [await system.http.get(f"{system.api}/") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert error_of(answers[3]) == (429, "Too many requests. Wait and try again.")
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 60


async def test_a_main_account_and_its_subaccounts_share_one_limit(
    system: System, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    sub = await subaccount(system, keyring)
    async with system.database.transaction() as connection:
        other = await accounts.create_account(connection, keyring)
    limiter, count = RequestLimiter(3, 60.0), RequestLimiter.seconds_to_wait
    monkeypatch.setattr(RequestLimiter, "seconds_to_wait", lambda _, account: count(limiter, account))

    async with signed_in(sub) as as_sub, signed_in(other) as as_other:
        answers = [await system.http.get(f"{system.api}/") for _ in range(2)]
        answers += [await as_sub.get(sessions_of(system, sub.auth_id)) for _ in range(2)]
        answers += [await system.http.get(f"{system.api}/"), await as_other.get(sessions_of(system, other.auth_id))]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429, 200]


def test_the_limit_slides_and_is_each_accounts_own() -> None:
    limiter = RequestLimiter(2, 5.0)

    assert [limiter.seconds_to_wait("a", now) for now in (0.0, 1.0, 2.0)] == [0, 0, 3]
    assert limiter.seconds_to_wait("b", 2.0) == 0
    assert limiter.seconds_to_wait("a", 5.0) == 0
    assert limiter.seconds_to_wait("a", 5.5) == 1
    assert [RequestLimiter(0, 5.0).seconds_to_wait("a", 0.0) for _ in range(9)] == [0] * 9
