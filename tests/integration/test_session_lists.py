"""Lists of sessions over HTTP: filters in every spelling, pages that hold still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from masking.storage import session_list
from tests.conftest import ACCOUNT
from tests.integration.conftest import System
from tests.integration.test_sessions_api import create, error_of

pytestmark = pytest.mark.anyio


async def many(system: System, count: int, **arguments: Any) -> list[str]:
    """Create sessions of different pairs; their ids, newest first."""
    created = []
    for n in range(count):
        answer = await create(system, first_party=f"+120255501{n:02}", second_party=f"+120255502{n:02}", **arguments)
        assert answer.status_code == 201
        created.append(answer.json()["session_uuid"])
    return created[::-1]


async def listed(system: System, **filters: Any) -> list[str]:
    response = await system.http.get(f"{system.api}/", params=filters)
    assert response.status_code == 200, response.text
    return [session["session_uuid"] for session in response.json()["response"]["objects"]]


async def age(system: System, session_uuid: str, by: timedelta) -> None:
    """Let a session have been created and expire earlier."""
    async with system.database.transaction() as connection:
        await connection.execute(
            "UPDATE sessions SET created_at = created_at - %(by)s, expires_at = expires_at - %(by)s"
            " WHERE session_uuid = %(uuid)s",
            {"by": by, "uuid": session_uuid},
        )


def written(moment: datetime, form: str = "%Y-%m-%d %H:%M:%S.%f") -> str:
    return moment.astimezone(UTC).strftime(form)


async def test_a_list_has_plivos_shape_and_is_newest_first(system: System) -> None:
    created = await many(system, 3)

    body = (await system.http.get(f"{system.api}")).json()

    assert set(body) == {"api_id", "response"}
    assert body["response"]["meta"] == {"limit": 20, "next": None, "offset": 0, "previous": None, "total_count": 3}
    objects = body["response"]["objects"]
    assert [session["session_uuid"] for session in objects] == created
    assert objects[0]["resource_uri"] == f"/v1/Account/{ACCOUNT}/Masking/Session/{created[0]}/"
    single = (await system.http.get(f"{system.api}/{created[0]}/")).json()["response"]
    assert {key: value for key, value in objects[0].items() if key != "resource_uri"} == single


async def test_pages_follow_each_other_and_hold_still_while_sessions_are_created(system: System) -> None:
    created = await many(system, 5)

    first = (await system.http.get(f"{system.api}/", params={"limit": "2"})).json()["response"]
    await many(system, 2)
    base = system.settings.base_url
    second = (await system.http.get(base + first["meta"]["next"])).json()["response"]
    third = (await system.http.get(base + second["meta"]["next"])).json()["response"]
    back = (await system.http.get(base + third["meta"]["previous"])).json()["response"]

    pages = [[session["session_uuid"] for session in page["objects"]] for page in (first, second, third, back)]
    assert pages == [created[0:2], created[2:4], created[4:], created[2:4]]
    assert [page["meta"]["total_count"] for page in (first, second, third)] == [5, 5, 5]
    assert first["meta"]["previous"] is None
    assert third["meta"]["next"] is None


async def test_pages_far_away_are_the_same_as_near_ones(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    await many(system, 9)
    addresses = [f"{system.api}/?limit=4&offset={offset}" for offset in range(11)]
    near = [(await system.http.get(address)).json()["response"]["objects"] for address in addresses]
    monkeypatch.setattr(session_list, "NEAR", -1)
    far = [(await system.http.get(address)).json()["response"]["objects"] for address in addresses]

    assert far == near
    assert [len(page) for page in far] == [4, 4, 4, 4, 4, 4, 3, 2, 1, 0, 0]


async def test_lists_filter_by_party_number_and_status(system: System) -> None:
    newest, middle, oldest = await many(system, 3)
    await system.http.delete(f"{system.api}/{oldest}/")
    async with system.database.transaction() as connection:
        await connection.execute(
            "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE session_uuid = %s", (middle,)
        )

    assert await listed(system, first_party="12025550101") == [middle]
    assert await listed(system, second_party="+12025550202") == [newest]
    assert await listed(system, first_party="12025550101", second_party="12025550202") == []
    assert await listed(system, virtual_number="+12025550199") == [newest, middle, oldest]
    assert await listed(system, virtual_number="12025550198") == []
    assert await listed(system, status="active") == [newest]
    assert await listed(system, status="expired") == [middle, oldest]
    assert await listed(system, status="in-progress") == []
    assert await listed(system, status="all", nonsense="7", offset="", limit="") == [newest, middle, oldest]


@pytest.mark.parametrize("spelling", ["{name}__{op}", "{name}_{op}"])
async def test_times_are_compared_in_every_spelling_that_sdks_send(system: System, spelling: str) -> None:
    newest, middle, oldest = await many(system, 3)
    await age(system, middle, timedelta(hours=2))
    await age(system, oldest, timedelta(hours=4))
    created = {
        uuid: datetime.strptime(
            (await system.http.get(f"{system.api}/{uuid}/")).json()["response"]["created_time"],
            "%Y-%m-%d %H:%M:%S +0000 UTC",
        ).replace(tzinfo=UTC)
        for uuid in (newest,)
    }
    between = written(created[newest] - timedelta(hours=1))

    def name(op: str, of: str = "created_time") -> str:
        return spelling.format(name=of, op=op)

    assert await listed(system, **{name("gt"): between}) == [newest]
    assert await listed(system, **{name("gte"): between}) == [newest]
    assert await listed(system, **{name("lt"): between}) == [middle, oldest]
    assert await listed(system, **{name("lte"): between}) == [middle, oldest]
    # Each expires an hour after its creation.
    now = written(datetime.now(UTC), "%Y-%m-%d %H:%M")
    assert await listed(system, **{name("gt", "expiry_time"): now}) == [newest]
    assert await listed(system, **{name("lt", "expiry_time"): now}) == [middle, oldest]


async def test_a_time_without_an_operator_means_that_minute_second_or_microsecond(system: System) -> None:
    (session,) = await many(system, 1)
    async with system.database.transaction() as connection:
        await connection.execute(
            "UPDATE sessions SET created_at = date_trunc('minute', now()) - interval '1 hour' + interval '7.25 s'"
        )
        rows = await (await connection.execute("SELECT created_at FROM sessions")).fetchall()
    ((moment,),) = rows
    assert isinstance(moment, datetime)

    for name in ("created_time", "created_times"):
        for form in ("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"):
            assert await listed(system, **{name: written(moment, form)}) == [session], (name, form)
    assert await listed(system, created_time=written(moment + timedelta(minutes=1), "%Y-%m-%d %H:%M")) == []
    plus = await system.http.get(f"{system.api}/?created_time={written(moment, '%Y-%m-%d+%H%%3A%M')}")
    assert plus.json()["response"]["meta"]["total_count"] == 1


async def test_durations_are_compared(system: System) -> None:
    (short,) = await many(system, 1, session_expiry=60)
    (long,) = [(await create(system, session_expiry=7200)).json()["session_uuid"]]

    assert await listed(system, duration="60") == [short]
    assert await listed(system, durations="7200") == [long]
    assert await listed(system, duration__gt="60") == [long]
    assert await listed(system, duration__gte="60") == [long, short]
    assert await listed(system, duration_lt="7200") == [short]
    assert await listed(system, session_duration__lte="7200") == [long, short]


async def test_only_the_last_seven_days_are_listed_unless_asked_and_never_more_than_thirty(system: System) -> None:
    new, old = await many(system, 2)
    await age(system, old, timedelta(days=10))
    now = datetime.now(UTC)

    assert await listed(system) == [new]
    assert await listed(system, created_time__gte=written(now - timedelta(days=29))) == [new, old]
    assert await listed(system, created_time__lt=written(now - timedelta(days=5))) == [old]
    response = await system.http.get(f"{system.api}/", params={"created_time__gte": written(now - timedelta(days=31))})
    assert error_of(response) == (400, "Invalid parameter. created_time should span at most 30 days.")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"limit": "21"}, "Invalid parameter. limit should be a whole number from 1 to 20."),
        ({"limit": "0"}, "Invalid parameter. limit should be a whole number from 1 to 20."),
        ({"limit": "²"}, "Invalid parameter. limit should be a whole number from 1 to 20."),
        ({"offset": "-1"}, "Invalid parameter. offset should be a whole number from 0 to 1000000."),
        ({"status": "gone"}, "Invalid parameter. status allowed values are active, in-progress, expired, all."),
        ({"created_time__gt": "yesterday"},
         "Invalid parameter. created_time should be of the form YYYY-MM-DD HH:MM[:ss[.uuuuuu]]."),
        ({"expiry_time": "2026-02-30 10:00"},
         "Invalid parameter. expiry_time should be of the form YYYY-MM-DD HH:MM[:ss[.uuuuuu]]."),
        ({"duration__gte": "long"}, "Invalid parameter. duration should be a whole number of seconds."),
        ({"first_party": "\0"}, "Invalid parameter. first_party is not a valid phone number."),
        ({"subaccount": "SA'--"}, "Invalid parameter. subaccount should be the auth ID of a subaccount."),
    ],
)  # fmt: skip
async def test_a_wrong_filter_is_named_with_its_rule(system: System, query: dict[str, str], sentence: str) -> None:
    assert error_of(await system.http.get(f"{system.api}/", params=query)) == (400, sentence)
