"""Whatever comes in, the answer is JSON of the documented shape, and never a 5xx. Driven by our OpenAPI document."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from masking.gateway.openapi import document
from tests.integration.conftest import System

pytestmark = pytest.mark.anyio

API = document("http://localhost")
SCHEMAS = API["components"]["schemas"]
LIST_PARAMETERS = [
    parameter["name"]
    for parameter in API["paths"]["/v1/Account/{auth_id}/Masking/Session/"]["get"]["parameters"]
    if parameter["in"] == "query"
]

CALLBACK_PARAMETERS = [
    parameter["name"]
    for parameter in API["paths"]["/v1/Account/{auth_id}/Masking/Callback/"]["get"]["parameters"]
    if parameter["in"] == "query"
]

texts = st.text(max_size=40) | st.sampled_from(
    ["+12025550101", "12025550102", "0", "", "true", "null", "http://x.example/a.mp3", "http://[", "\0", "９", "1e5",
     "2026-11-23 10:00", "0001-01-01 00:00", "9999-12-31 23:59:59.999999", " ", "1.0",
     "-12025550101", "9" * 400, "SA" + "0" * 18, "-1", "all", "%00", "' OR 1=1 --", "\ud800", "a:session:1"]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def bodies(model: str) -> st.SearchStrategy[Any]:
    """Anything at all, or the documented arguments with anything in them."""
    names = st.sampled_from(sorted(SCHEMAS[model]["properties"]))
    return st.dictionaries(names, values, max_size=6) | st.dictionaries(texts, values, max_size=4) | values


def check(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    assert response.headers["Content-Type"].split(";")[0] == "application/json"
    body = response.json()
    if response.status_code >= 400:
        assert set(body) == {"api_id", "error"}
        assert isinstance(body["error"], str)
        assert len(body["error"]) < 200
        assert "Traceback" not in body["error"]


def as_json(body: Any) -> bytes:
    return json.dumps(body).encode()


def percent_encoded(raw: bytes) -> str:
    return "/" + "".join(f"%{byte:02x}" for byte in raw)


thorough = settings(
    max_examples=int(os.environ.get("REQUESTS", "50")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
"""Requests of each kind; `make chaos` sets 1,000."""

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def session(system: System) -> str:
    """A session to update; no update ends it before it has a minute left."""
    body = {"first_party": "+12025550101", "second_party": "+12025550102", "session_expiry": 86400}
    return str((await system.http.post(f"{system.api}/", json=body)).json()["session_uuid"])


@pytest.fixture
async def some_sessions(system: System) -> None:
    """Enough sessions for pages."""
    for n in range(3):
        body = {"first_party": f"+1202555011{n}", "second_party": "+12025550102", "session_expiry": 86400}
        assert (await system.http.post(f"{system.api}/", json=body)).status_code == 201


@given(body=bodies("CreateArguments"))
@thorough
async def test_no_create_body_breaks_it(system: System, body: Any) -> None:
    check(await system.http.post(f"{system.api}/", content=as_json(body), headers=JSON))


@given(body=bodies("UpdateArguments"))
@thorough
async def test_no_update_body_breaks_it(system: System, session: str, body: Any) -> None:
    check(await system.http.post(f"{system.api}/{session}/", content=as_json(body), headers=JSON))


@given(body=bodies("ReplayArguments"))
@thorough
async def test_no_replay_body_breaks_it(system: System, body: Any) -> None:
    url = system.api.removesuffix("Session") + "Callback/Replay"
    check(await system.http.post(url, content=as_json(body), headers=JSON))


@given(query=st.lists(st.tuples(st.sampled_from(CALLBACK_PARAMETERS) | texts, texts), max_size=5))
@thorough
async def test_no_filter_of_callbacks_breaks_it(system: System, query: list[tuple[str, str]]) -> None:
    asked = [(sendable(key), sendable(value)) for key, value in query]
    url = system.api.removesuffix("Session") + "Callback/"
    check(await system.http.get(f"{url}?{urlencode(asked)}"))


def sendable(text: str) -> str:
    return text.encode(errors="replace").decode()


@given(
    query=st.lists(st.tuples(st.sampled_from(LIST_PARAMETERS) | texts, texts), max_size=5),
    page=st.sampled_from([[], [("limit", "1")], [("limit", "1"), ("offset", "1")], [("limit", "1"), ("offset", " ")]]),
    first=st.booleans(),
)
@thorough
async def test_no_filter_breaks_it(
    system: System, some_sessions: None, query: list[tuple[str, str]], page: list[tuple[str, str]], first: bool
) -> None:
    asked = [(sendable(key), sendable(value)) for key, value in (page + query if first else query + page)]
    answer = await system.http.get(f"{system.api}/?{urlencode(asked)}")
    check(answer)
    if answer.status_code == 200:
        meta = answer.json()["response"]["meta"]
        for address in (meta["next"], meta["previous"]):
            if address is not None:
                neighbour = await system.http.get(f"{system.settings.base_url}{address}")
                check(neighbour)
                assert neighbour.status_code == 200, "a link of ours leads somewhere"


async def test_the_filters_that_are_tried_reach_pages_with_neighbours(system: System, some_sessions: None) -> None:
    meta = (await system.http.get(f"{system.api}/?limit=1&offset=1")).json()["response"]["meta"]
    assert None not in (meta["next"], meta["previous"])


@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "PATCH"]),
    tail=st.sampled_from(["", "/", "//"]) | st.binary(max_size=20).map(percent_encoded),
    resource=st.sampled_from(["Masking/Session", "Masking/Callback", "Call", "Recording", "Masking", "%00"]),
    content=st.binary(max_size=50),
    content_type=st.sampled_from(["application/json", "text/xml", "application/json; charset=nope", "", "a/b"]),
    key=st.none() | st.binary(min_size=1, max_size=20).map(lambda raw: bytes(b for b in raw if b >= 33 and b != 127)),
    more=st.sampled_from(
        [{}, *({"Content-Encoding": e} for e in ("gzip", "deflate", "br", "zstd", "é")), {"Expect": "foo"},
         {"X-Long": "1" * 9000}]
    ),
)  # fmt: skip
@thorough
async def test_no_path_type_or_header_breaks_it(
    system: System,
    method: str,
    tail: str,
    resource: str,
    content: bytes,
    content_type: str,
    key: bytes | None,
    more: dict[str, str],
) -> None:
    account = system.api.removesuffix("/Masking/Session")
    headers: dict[str, str | bytes] = {"Content-Type": content_type, **more}
    if key:
        headers["Idempotency-Key"] = key
    check(
        await system.http.request(
            method,
            f"{account}/{resource}{tail}",
            content=content,
            headers=[
                (name.encode(), value.encode() if isinstance(value, str) else value) for name, value in headers.items()
            ],
        )
    )
