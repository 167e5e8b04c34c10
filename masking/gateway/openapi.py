"""The OpenAPI 3.1 document, made from the models that check requests and write answers."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from masking.gateway.api_page import page
from masking.gateway.arguments import CreateArguments, UpdateArguments
from masking.gateway.callback_arguments import PARAMETERS as CALLBACK_PARAMETERS
from masking.gateway.callback_arguments import ReplayArguments
from masking.gateway.callback_resources import (
    CallbackAnswer,
    CallbackListAnswer,
    CallbacksReplayed,
    EndpointListAnswer,
)
from masking.gateway.list_arguments import PARAMETERS, Parameter
from masking.gateway.resources import (
    CallObject,
    ErrorAnswer,
    ListAnswer,
    RecordingObject,
    SessionAnswer,
    SessionCreated,
    SessionExpired,
    SessionUpdated,
)
from masking.settings import Settings

Json = dict[str, Any]

_ANSWERS: tuple[type[BaseModel], ...] = (
    SessionCreated,
    SessionAnswer,
    SessionUpdated,
    SessionExpired,
    ListAnswer,
    CallObject,
    RecordingObject,
    CallbackListAnswer,
    CallbackAnswer,
    CallbacksReplayed,
    EndpointListAnswer,
    ErrorAnswer,
)
_ARGUMENTS: tuple[type[BaseModel], ...] = (CreateArguments, UpdateArguments, ReplayArguments)
_REF = "#/components/schemas/{model}"

_AUDIO = ("audio/mpeg", "audio/wav")
_ERRORS = {
    400: "An argument is missing or wrong, the session has expired, or no number is free.",
    401: "The credentials are missing or wrong.",
    404: "The account has no such session, call, recording or callback.",
    405: "Not with this method; Allow names those that there are.",
    408: "The body did not come within 20 seconds.",
    413: "The body is larger than 64 KiB.",
    415: "The body is not application/json, or compressed in another way than gzip and deflate.",
    422: "The Idempotency-Key was used with another body.",
    429: "Too many requests; Retry-After tells how many seconds to wait.",
    502: "The carrier does not hand out the audio.",
    503: "The outcome is not known yet. The same request again gives the same session.",
}

_PAGE_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STYLE = "/docs/style.css"


def routes(settings: Settings) -> list[web.RouteDef]:
    """`/openapi.json` for machines and `/docs` for people. Both need no credentials."""

    # Made when somebody asks: that takes as long as dozens of answers, and most gateways are never asked.
    @cache
    def described() -> Json:
        return document(settings.base_url)

    @cache
    def shown() -> tuple[str, str]:
        return page(described(), _STYLE)

    async def _document(_: web.Request) -> web.Response:
        return web.json_response(described())

    async def _page(_: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": _PAGE_POLICY}
        return web.Response(text=shown()[0], content_type="text/html", headers=headers)

    async def _style(_: web.Request) -> web.Response:
        return web.Response(text=shown()[1], content_type="text/css")

    return [
        web.get("/openapi.json", _document, name="openapi"),
        web.get("/docs", _page, name="docs"),
        web.get(_STYLE, _style, name="docs.style"),
    ]


def document(base_url: str) -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Masking sessions",
            "version": version("masking"),
            "description": (
                "Plivo's Masking Session API, and what became of the callbacks."
                " Any slash of a path may be several, also at its end."
            ),
        },
        "servers": [{"url": base_url}],
        "security": [{"basic": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "Auth id and auth token."},
            },
            "schemas": _schemas(),
        },
    }


@cache
def _schemas() -> Json:
    _, definitions = models_json_schema(
        [(model, "validation") for model in _ARGUMENTS] + [(model, "serialization") for model in _ANSWERS],
        ref_template=_REF,
    )
    schemas: Json = definitions["$defs"]
    return schemas


@cache
def _paths() -> Json:
    account = _in_path("auth_id", "The account's auth id, MA or SA and 18 characters.")
    session = _in_path("session_uuid", "The session's id.")
    one = [account, session]
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": "The same key and body give the same session for 24 hours.",
    }
    sessions = "/v1/Account/{auth_id}/Masking/Session/"
    callbacks = "/v1/Account/{auth_id}/Masking/Callback/"
    return {
        sessions: {
            "post": _operation(
                "createSession", "Create a session", [account, key], (201, SessionCreated), CreateArguments,
                errors=(400, 401, 408, 413, 415, 422, 429, 503),
            ),
            "get": _operation(
                "listSessions", "List sessions, newest first", [account, *_in_query(PARAMETERS)], (200, ListAnswer),
                errors=(400, 401, 429),
            ),
        },
        sessions + "{session_uuid}/": {
            "get": _operation("getSession", "Retrieve a session", one, (200, SessionAnswer), errors=(401, 404, 429)),
            "post": _operation(
                "updateSession", "Update a session", one, (200, SessionUpdated), UpdateArguments,
                errors=(400, 401, 404, 408, 413, 415, 429, 503),
            ),
            "delete": _operation(
                "expireSession", "Expire a session", one, (200, SessionExpired), errors=(400, 401, 404, 429, 503)
            ),
        },
        "/v1/Account/{auth_id}/Call/{call_uuid}/": {
            "get": _operation(
                "getCall", "Retrieve a leg of a conversation", [account, _in_path("call_uuid", "The leg's id.")],
                (200, CallObject), errors=(401, 404, 429),
            ),
        },
        "/v1/Account/{auth_id}/Recording/{recording_id}/": {
            "get": _operation(
                "getRecording", "Retrieve a recording", [account, _in_path("recording_id", "The recording's id.")],
                (200, RecordingObject), errors=(401, 404, 429),
            ),
        },
        "/v1/Account/{auth_id}/Recording/{recording_id}.{file_format}": {
            "get": _operation(
                "getRecordingMedia", "Retrieve a recording's audio",
                [
                    account, _in_path("recording_id", "The recording's id."),
                    _in_path("file_format", "The recording's format.", enum=["mp3", "wav"]),
                ],
                (200, {kind: {"schema": {"type": "string", "contentMediaType": kind}} for kind in _AUDIO}),
                errors=(401, 404, 429, 502),
            ),
        },
        callbacks: {
            "get": _operation(
                "listCallbacks", "List callbacks, oldest first", [account, *_in_query(CALLBACK_PARAMETERS)],
                (200, CallbackListAnswer), errors=(400, 401, 429),
            ),
        },
        callbacks + "{callback_id}/": {
            "get": _operation(
                "getCallback", "Retrieve a callback and its tries",
                [account, _in_path("callback_id", "The callback's id.")],
                (200, CallbackAnswer), errors=(401, 404, 429),
            ),
        },
        callbacks + "Replay/": {
            "post": _operation(
                "replayCallbacks", "Send callbacks again", [account], (200, CallbacksReplayed), ReplayArguments,
                errors=(400, 401, 408, 413, 415, 429),
            ),
        },
        callbacks + "Endpoint/": {
            "get": _operation(
                "listEndpoints", "List endpoints that keep failing", [account], (200, EndpointListAnswer),
                errors=(401, 429),
            ),
        },
    }  # fmt: skip


def _operation(
    operation_id: str,
    summary: str,
    parameters: list[Json],
    answer: tuple[int, type[BaseModel] | Json],
    arguments: type[BaseModel] | None = None,
    *,
    errors: tuple[int, ...],
) -> Json:
    status, given = answer
    content = given if isinstance(given, dict) else _content(given)
    described: Json = {
        "operationId": operation_id,
        "summary": summary,
        "parameters": parameters,
        "responses": {
            str(status): {"description": "Done.", "content": content},
            **{
                str(code): {"description": _ERRORS[code], "content": _content(ErrorAnswer)}
                for code in sorted({*errors, 405})
            },
        },
    }
    if arguments is not None:
        described["requestBody"] = {"required": True, "content": _content(arguments)}
    return described


def _content(model: type[BaseModel]) -> Json:
    return {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}


def _in_path(name: str, description: str, **schema: Any) -> Json:
    rule = {"type": "string", **schema}
    return {"name": name, "in": "path", "required": True, "schema": rule, "description": description}


def _in_query(parameters: tuple[Parameter, ...]) -> list[Json]:
    return [
        {"name": p.name, "in": "query", "schema": p.schema, "description": p.description, "required": False}
        for p in parameters
    ]
