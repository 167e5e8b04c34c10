"""Lists of sessions over HTTP: filters in every spelling, pages that hold still."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from masking.privacy.keyring import Keyring
from masking.storage.routes import identity_hash
from tests.conftest import ACCOUNT
from tests.integration.conftest import System
from tests.integration.test_sessions_api import create, error_of
from tests.storage.test_routes import asked, open_

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


async def test_every_page_shows_its_part_of_the_list_and_counts_the_whole(system: System) -> None:
    created = await many(system, 9)
    for offset in range(11):
        page = (await system.http.get(f"{system.api}/?limit=4&offset={offset}")).json()["response"]
        assert [session["session_uuid"] for session in page["objects"]] == created[offset : offset + 4]
        assert page["meta"]["total_count"] == 9, offset
        assert (page["meta"]["next"] is None) == (offset >= 5)
        assert (page["meta"]["previous"] is None) == (offset == 0)


def ago(**span: float) -> str:
    return written(datetime.now(UTC) - timedelta(**span))


SAME_MOMENT = datetime.now(UTC).replace(second=7, microsecond=0) - timedelta(days=10)
WALKS: dict[str, Callable[[], dict[str, str]]] = {
    "nothing": dict,
    "status": lambda: {"status": "expired"},
    "all": lambda: {"status": "all"},
    "created after": lambda: {"created_time__gte": ago(days=29)},
    "created after, in another spelling": lambda: {"created_time_gt": ago(days=29)},
    "created before": lambda: {"created_time__lt": ago(days=-1)},
    "created up to": lambda: {"created_time__lte": ago(days=2)},
    "created between": lambda: {"created_time__gt": ago(days=12), "created_time__lte": ago(days=-1)},
    "created in a minute": lambda: {"created_time": written(SAME_MOMENT, "%Y-%m-%d %H:%M")},
    "expires after": lambda: {"expiry_time__gte": ago(days=29)},
    "expires before": lambda: {"expiry_time__lt": ago(days=-2)},
    "expires and created": lambda: {"expiry_time__gte": ago(days=29), "created_time__gte": ago(days=15)},
    "duration": lambda: {"duration__gte": "3600"},
    "party": lambda: {"first_party": "12025550300"},
    "parties": lambda: {"first_party": "12025550300", "created_time__gte": ago(days=29), "duration__lt": "9999"},
    "number": lambda: {"virtual_number": "12025550199", "expiry_time__gte": ago(days=29)},
    "given twice": lambda: {"created_time__gte": ago(days=29), "created_time_gte": ago(days=15)},
}
AGES_IN_DAYS = [0, 0, 1, 3, 6.9999, 7, 8, 10, 10, 10, 14, 20, 28, 31]
"""Those of ten days are then put at the same moment."""


PARTY, NAMES = "+12025550300", itertools.count()


async def aged(system: System, keyring: Keyring, days: float) -> str:
    """A session of the walks' party, created so long ago; opened in the tables alone, since the walks take many."""
    # Of another pair, so that any number of them fit on the pool's numbers.
    first, second = (f"+1202{side}{next(NAMES):06}" for side in (6, 7))
    session = asked(first, second, session_expiry=3600)
    assert await open_(system.database, keyring, session)
    await age(system, session.session_uuid, timedelta(days=days))
    async with system.database.transaction() as connection:
        await connection.execute(
            "UPDATE sessions SET first_party_hash = %s WHERE session_uuid = %s",
            (identity_hash(keyring, "number", PARTY), session.session_uuid),
        )
    return session.session_uuid


async def page_at(system: System, address: str) -> dict[str, Any]:
    page: dict[str, Any] = (await system.http.get(f"{system.settings.base_url}{address}")).json()["response"]
    return page


def uuids(page: dict[str, Any]) -> list[str]:
    return [session["session_uuid"] for session in page["objects"]]


@pytest.mark.parametrize("kind", WALKS)
async def test_walking_the_pages_misses_and_repeats_nothing_while_sessions_are_created(
    system: System, keyring: Keyring, kind: str
) -> None:
    for days in AGES_IN_DAYS:
        await aged(system, keyring, days)
    async with system.database.transaction() as connection:
        await connection.execute(
            "UPDATE sessions SET created_at = %(at)s, expires_at = %(at)s + interval '1 hour'"
            " WHERE created_at BETWEEN %(at)s - interval '1 day' AND %(at)s + interval '1 day'",
            {"at": SAME_MOMENT},
        )
    filters = WALKS[kind]()
    first = (await system.http.get(f"{system.api}/", params=filters | {"limit": "3"})).json()["response"]
    truth = await listed(system, **filters)
    assert len(truth) > 1

    pages = [first]
    while pages[-1]["meta"]["next"] is not None:
        await aged(system, keyring, len(pages) * 5 - 5)
        pages.append(await page_at(system, pages[-1]["meta"]["next"]))
    walked = [uuid for page in pages for uuid in uuids(page)]
    assert [uuid for uuid in walked if uuid in truth] == truth
    assert len(set(walked)) == len(walked)
    assert {page["meta"]["total_count"] for page in pages} == {len(truth)}
    assert [page["meta"]["offset"] for page in pages] == [3 * n for n in range(len(pages))]

    back = [pages[-1]]
    while back[-1]["meta"]["previous"] is not None:
        await aged(system, keyring, 0)
        back.append(await page_at(system, back[-1]["meta"]["previous"]))
    assert back[-1]["meta"]["offset"] == 0
    returned = [uuid for page in back[::-1] for uuid in uuids(page)]
    assert [uuid for uuid in returned if uuid in truth] == truth
    assert len(set(returned)) == len(returned)


async def test_the_window_of_the_first_page_is_that_of_all(system: System) -> None:
    newest, middle, oldest = await many(system, 3)
    began = -math.inf
    while time.monotonic() - began > 1.9:
        # Again where the page came so late that the session had left the window by then.
        began = time.monotonic()
        async with system.database.transaction() as connection:
            await connection.execute(
                "UPDATE sessions SET created_at = now() - interval '7 days' + interval '2 s' WHERE session_uuid = %s",
                (oldest,),
            )
        first = (await system.http.get(f"{system.api}/?limit=2")).json()["response"]
    assert (uuids(first), first["meta"]["total_count"]) == ([newest, middle], 3)
    await asyncio.sleep(2.1)
    assert await listed(system) == [newest, middle]
    second = await page_at(system, first["meta"]["next"])
    assert (uuids(second), second["meta"]["total_count"]) == ([oldest], 3)


async def test_walking_the_pages_misses_nothing_when_sessions_leave_the_list_meanwhile(system: System) -> None:
    truth = await many(system, 7)
    page = (await system.http.get(f"{system.api}/?limit=2&status=active")).json()["response"]
    walked = uuids(page)
    while page["meta"]["next"] is not None:
        await system.http.delete(f"{system.api}/{walked[-1]}/")
        page = await page_at(system, page["meta"]["next"])
        walked += uuids(page)
    assert walked == truth


async def test_pages_that_begin_anywhere_lead_to_their_neighbours(system: System) -> None:
    created = await many(system, 5)
    middle = (await system.http.get(f"{system.api}/?limit=2&offset=1")).json()["response"]
    await many(system, 1)
    assert uuids(await page_at(system, middle["meta"]["previous"])) == created[:1]
    assert uuids(await page_at(system, middle["meta"]["next"])) == created[3:]
    beyond = (await system.http.get(f"{system.api}/?limit=2&offset=9")).json()["response"]
    assert (uuids(beyond), beyond["meta"]["next"], beyond["meta"]["total_count"]) == ([], None, 6)
    assert uuids(await page_at(system, f"{beyond['meta']['previous']}")) == []
    last = (await system.http.get(f"{system.api}/?limit=2&offset=%206&offset=%20")).json()["response"]
    assert (last["meta"]["offset"], last["meta"]["previous"] is None) == (6, False)


async def test_a_cursor_of_another_list_or_of_nobodys_is_refused(system: System) -> None:
    await many(system, 3)
    page = (await system.http.get(f"{system.api}/?limit=1&status=active")).json()["response"]
    cursor = parse_qs(urlsplit(page["meta"]["next"]).query)["cursor"][0]
    sentence = "Invalid parameter. cursor should come from meta.next or meta.previous, filters unchanged."
    for query in (
        {"cursor": cursor},
        {"cursor": cursor, "status": "all"},
        {"cursor": cursor[1:], "status": "active"},
        {"cursor": cursor.replace("after.1", "after.9"), "status": "active", "first_party": "12025550101"},
        {"cursor": "2"},
    ):
        assert error_of(await system.http.get(f"{system.api}/", params=query)) == (400, sentence)
    assert len(await listed(system, cursor=cursor, status="active", limit="20")) == 2


async def test_of_a_filter_that_is_given_twice_the_last_that_says_something_counts(system: System) -> None:
    created = await many(system, 3)
    address = f"{system.api}/?first_party=12025550102&first_party=12025550101&first_party=&limit=1"
    assert uuids((await system.http.get(address)).json()["response"]) == [created[1]]

    address = f"{system.api}/?status=expired&status=all&status=%20&limit=2&limit=1&nonsense={'7' * 5000}"
    page = (await system.http.get(address)).json()["response"]
    query = parse_qs(urlsplit(page["meta"]["next"]).query)
    assert set(query) == {"status", "limit", "offset", "cursor"}
    assert (query["status"], query["limit"]) == (["all"], ["1"])
    assert uuids(await page_at(system, page["meta"]["next"])) == [created[1]]


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


async def test_a_time_is_compared_as_precisely_as_it_is_given(system: System) -> None:
    await many(system, 1)
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE sessions SET created_at = date_trunc('minute', now()) - interval '1 h 0.75 s'")
        rows = await (await connection.execute("SELECT created_at FROM sessions")).fetchall()
    ((moment,),) = rows
    assert isinstance(moment, datetime)
    shown = written(moment, "%Y-%m-%d %H:%M:%S +0000 UTC")

    for value in (shown, written(moment, "%Y-%m-%d %H:%M"), f"{written(moment, '%Y-%m-%d %H:%M:%S')}.2"):
        matching = [op for op in ("gt", "gte", "lt", "lte") if await listed(system, **{f"created_time__{op}": value})]
        assert matching == ["gte", "lte"], value
    later, earlier = moment + timedelta(seconds=1), moment - timedelta(seconds=1)
    for other, operators in ((later, ["lt", "lte"]), (earlier, ["gt", "gte"])):
        value = written(other, "%Y-%m-%d %H:%M:%S")
        matching = [op for op in ("gt", "gte", "lt", "lte") if await listed(system, **{f"created_time__{op}": value})]
        assert matching == operators


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


async def test_a_session_is_found_by_its_expiry_however_long_it_lasts(system: System) -> None:
    (short,) = await many(system, 1, session_expiry=60)
    long = (await create(system, session_expiry=86400)).json()["session_uuid"]
    for session in (short, long):
        await age(system, session, timedelta(days=20))

    for days, found in ((20.1, [long, short]), (19.9, [long]), (19.1, [long]), (18.9, [])):
        assert await listed(system, expiry_time__gte=ago(days=days)) == found, days
    for days, found in ((20.1, []), (19.9, [short]), (19.1, [short]), (18.9, [long, short])):
        assert await listed(system, expiry_time__lt=ago(days=days)) == found, days
    assert await listed(system, expiry_time__gte=ago(days=29), status="expired") == [long, short]
    assert await listed(system, expiry_time__gte=ago(days=29), status="active") == []


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
        ({"created_time__lt": "0001-01-01 00:00"},
         "Invalid parameter. created_time should be in the years 1970 to 2999."),
        ({"expiry_time__lte": "0001-01-02 00:00"},
         "Invalid parameter. expiry_time should be in the years 1970 to 2999."),
        ({"created_time": "9999-12-31 23:59"},
         "Invalid parameter. created_time should be in the years 1970 to 2999."),
        ({"created_time": "2026-11-23 10:00.5"},
         "Invalid parameter. created_time should be of the form YYYY-MM-DD HH:MM[:ss[.uuuuuu]]."),
        ({"first_party": "4930901820.0"}, "Invalid parameter. first_party is not a valid phone number."),
        ({"duration__gte": "long"}, "Invalid parameter. duration should be a whole number of seconds."),
        ({"first_party": "\0"}, "Invalid parameter. first_party is not a valid phone number."),
        ({"subaccount": "SA'--"}, "Invalid parameter. subaccount should be the auth ID of a subaccount."),
    ],
)  # fmt: skip
async def test_a_wrong_filter_is_named_with_its_rule(system: System, query: dict[str, str], sentence: str) -> None:
    assert error_of(await system.http.get(f"{system.api}/", params=query)) == (400, sentence)
