"""The OpenAPI document describes what is really taken and answered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from jsonschema import Draft202012Validator

from masking.gateway.arguments import CreateArguments, UpdateArguments
from masking.gateway.callback_arguments import ReplayArguments
from masking.gateway.list_arguments import read_list
from masking.gateway.openapi import document
from tests.conftest import ACCOUNT
from tests.integration.conftest import System
from tests.integration.reported_calls import create, whole_call

pytestmark = pytest.mark.anyio

API = document("http://localhost")
SESSIONS = "/v1/Account/{auth_id}/Masking/Session/"


def check(answer: httpx.Response, path: str, verb: str) -> None:
    """An answer is one that the document names for its status, and has the shape it gives."""
    described = API["paths"][path][verb]["responses"][str(answer.status_code)]
    schema = described["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": API["components"]}).validate(answer.json())


async def test_every_answer_has_the_shape_that_is_described(system: System) -> None:
    session = await create(system, record=True, callback_url="http://127.0.0.1:9/events")
    call_uuid = str(uuid4())
    uuid = session["session_uuid"]
    await whole_call(system, session, call_uuid)
    one, http = f"{system.api}/{uuid}/", system.http
    account = f"{system.settings.base_url}/v1/Account/{ACCOUNT}"

    check(await http.post(f"{system.api}/", json={"first_party": "1"}), SESSIONS, "post")
    body = {"first_party": "12025550111", "second_party": "12025550112"}
    check(await http.post(f"{system.api}/", json=body), SESSIONS, "post")
    check(await http.post(f"{system.api}/", data=body), SESSIONS, "post")
    check(await http.post(one, json={"record": False}), SESSIONS + "{session_uuid}/", "post")
    check(await http.delete(one), SESSIONS + "{session_uuid}/", "delete")
    check(await http.delete(one), SESSIONS + "{session_uuid}/", "delete")
    await system.sessions.final_bill(uuid)
    check(await http.get(one), SESSIONS + "{session_uuid}/", "get")
    check(await http.get(f"{system.api}/nothing/"), SESSIONS + "{session_uuid}/", "get")
    check(await http.get(f"{system.api}/"), SESSIONS, "get")
    check(await http.get(f"{system.api}/", params={"limit": "x"}), SESSIONS, "get")
    check(await http.put(f"{system.api}/"), SESSIONS, "get")
    check(await http.put(one), SESSIONS + "{session_uuid}/", "get")
    compressed = {"Content-Type": "application/json", "Content-Encoding": "br"}
    check(await http.post(f"{system.api}/", content=b"{}", headers=compressed), SESSIONS, "post")
    check(await http.get(f"{account}/Call/{call_uuid}/"), "/v1/Account/{auth_id}/Call/{call_uuid}/", "get")
    recording = f"{account}/Recording/{call_uuid}-rec/"
    check(await http.get(recording), "/v1/Account/{auth_id}/Recording/{recording_id}/", "get")
    callbacks = "/v1/Account/{auth_id}/Masking/Callback/"
    mine = f"{account}/Masking/Callback/"
    listed = await http.get(mine, params={"session_uuid": uuid, "state": "all"})
    assert listed.json()["response"]["objects"]
    check(listed, callbacks, "get")
    check(await http.get(mine, params={"limit": "x"}), callbacks, "get")
    check(await http.get(f"{mine}{uuid}:session:1"), callbacks + "{callback_id}/", "get")
    check(await http.get(f"{mine}nothing"), callbacks + "{callback_id}/", "get")
    check(await http.post(f"{mine}Replay/", json={"session_uuid": uuid}), callbacks + "Replay/", "post")
    check(await http.post(f"{mine}Replay/", json={}), callbacks + "Replay/", "post")
    check(await http.post(f"{mine}Replay/", data={}), callbacks + "Replay/", "post")
    check(await http.get(f"{mine}Endpoint"), callbacks + "Endpoint/", "get")
    media = "/v1/Account/{auth_id}/Recording/{recording_id}.{file_format}"
    for file_format in ("mp3", "wav"):
        check(await http.get(f"{account}/Recording/{call_uuid}-rec.{file_format}"), media, "get")
    check(await http.put(f"{account}/Recording/{call_uuid}-rec.mp3"), media, "get")


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for each in node for found in references(each)] if isinstance(node, list) else []


def test_the_document_holds_together() -> None:
    schemas = {f"#/components/schemas/{name}" for name in API["components"]["schemas"]}
    assert API["openapi"] == "3.1.0"
    assert set(references(API)) <= schemas
    for schema in API["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    operations = [o["operationId"] for verbs in API["paths"].values() for o in verbs.values()]
    assert len(set(operations)) == len(operations) == 12
    described = [set(o["responses"]) for verbs in API["paths"].values() for o in verbs.values()]
    assert all(statuses >= {"401", "405", "429"} for statuses in described)


def test_the_document_names_every_argument_and_filter() -> None:
    schemas = API["components"]["schemas"]
    assert set(schemas["CreateArguments"]["properties"]) == set(CreateArguments.model_fields)
    assert set(schemas["UpdateArguments"]["properties"]) == set(UpdateArguments.model_fields)
    assert set(schemas["ReplayArguments"]["properties"]) == set(ReplayArguments.model_fields)
    now = datetime(2026, 11, 23, tzinfo=UTC)

    def what(query: dict[str, str]) -> tuple[object, ...]:
        asked = read_list(query, now)
        return asked.wanted, asked.limit, asked.offset

    everything = what({})
    for parameter in API["paths"][SESSIONS]["get"]["parameters"]:
        if parameter["in"] != "query" or parameter["name"] == "cursor":
            continue
        name = parameter["name"]
        value = {"integer": "7"}.get(parameter["schema"]["type"], "2026-11-20 10:00")
        if name in ("first_party", "second_party", "virtual_number"):
            value = "12025550101"
        elif name in ("status", "subaccount"):
            value = {"status": "active", "subaccount": "SA" + "0" * 18}[name]
        assert what({name: value}) != everything, f"{name} filters nothing"


async def test_the_page_for_people_is_served_without_credentials_or_scripts(system: System) -> None:
    async with httpx.AsyncClient(base_url=system.settings.base_url) as http:
        shown, style = await http.get("/docs"), await http.get("/docs/style.css")
        described = await http.get("/openapi.json")

    assert described.json()["servers"] == [{"url": system.settings.base_url}]
    assert shown.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert "<script" not in shown.text
    for argument in ("create_session_with_single_party", "pin_retry_wait", "total_session_amount"):
        assert f"<code>{argument}</code>" in shown.text
    assert style.headers["Content-Type"].startswith("text/css")
