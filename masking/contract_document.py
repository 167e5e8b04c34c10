"""The contract for callers in any language: every name, and every payload as JSON Schema, made from the models."""

from __future__ import annotations

from typing import Any, Literal

import nexusrpc
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from masking.contract import (
    EVENTS,
    MEMO_REQUEST,
    QUERY_SNAPSHOT,
    QUERY_STORY,
    SIGNAL_EVENTS,
    TASK_QUEUE,
    UPDATE_EXPIRE,
    UPDATE_EXTEND,
    UPDATE_MODIFY,
    UPDATE_OPENED,
    WORKFLOW_TYPE,
    ErrorType,
    session_workflow_id,
)
from masking.domain.bill.charges import Bill
from masking.domain.events import CarrierEvents
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import Change, Expire, Extend, SessionRequest
from masking.lookup import ATTRIBUTES, kinds
from masking.nexus import ENDPOINT, SERVICE, MaskingService

UPDATES: dict[str, tuple[type[BaseModel] | None, type[BaseModel]]] = {
    UPDATE_OPENED: (None, SessionSnapshot),
    UPDATE_EXTEND: (Extend, SessionSnapshot),
    UPDATE_MODIFY: (Change, SessionSnapshot),
    UPDATE_EXPIRE: (Expire, SessionSnapshot),
}

_Mode = Literal["validation", "serialization"]


def contract_document() -> dict[str, Any]:
    """The whole of it, as JSON can hold it."""
    operations = _operations()
    takes: set[type[BaseModel]] = {SessionRequest, CarrierEvents, *EVENTS.values()}
    takes |= {taken for taken, _ in UPDATES.values() if taken is not None}
    takes |= {taken for taken, _ in operations.values()}
    gives: set[type[BaseModel]] = {Bill, SessionSnapshot}
    models: list[tuple[type[BaseModel], _Mode]] = [(model, "validation") for model in sorted(takes, key=_name)]
    models += [(model, "serialization") for model in sorted(gives, key=_name)]
    _, schema = models_json_schema(models, ref_template="#/$defs/{model}")
    return {
        "title": "Masking sessions: the contract for callers by Temporal and Nexus",
        "workflow": {
            "type": WORKFLOW_TYPE,
            "task_queue": TASK_QUEUE,
            "id": session_workflow_id("{session_uuid}"),
            "id_reuse_policy": "reject duplicate",
            "input": _ref(SessionRequest),
            "result": _ref(Bill),
            "memo": {MEMO_REQUEST: "what tells requests under one key apart; others may leave it out"},
        },
        "updates": {
            name: {"input": _ref(taken) if taken is not None else None, "result": _ref(given)}
            for name, (taken, given) in UPDATES.items()
        },
        "queries": {QUERY_SNAPSHOT: {"result": _ref(SessionSnapshot)}, QUERY_STORY: {"result": {"type": "string"}}},
        "signals": {
            **{name: {"input": _ref(model)} for name, model in EVENTS.items()},
            SIGNAL_EVENTS: {"input": _ref(CarrierEvents)},
        },
        "errors": [*ErrorType],
        "search_attributes": kinds(),
        "nexus": {
            "service": SERVICE,
            "endpoint": ENDPOINT,
            "errors": [*ErrorType, "SessionNotFound", "SessionRefused", "IdempotencyConflict"],
            "operations": {
                name: {"input": _ref(taken), "result": _ref(given)} for name, (taken, given) in operations.items()
            },
        },
        "payloads": {
            "encoding": "json/plain, one JSON object each, encrypted by the payload codec as binary/encrypted",
            "codec": "docs/client.md; one to copy: examples/nexus/codec.py",
        },
        "$defs": schema["$defs"],
    }


def contract_lines() -> list[str]:
    """The names, for people."""
    document = contract_document()
    workflow, nexus = document["workflow"], document["nexus"]
    return [
        f"workflow type      {workflow['type']}, id {workflow['id']}",
        f"task queue         {workflow['task_queue']}",
        f"updates            {', '.join(document['updates'])}",
        f"queries            {', '.join(document['queries'])}",
        f"signals            {', '.join(document['signals'])} (carriers' events, sent by the gateway)",
        f"errors             {', '.join(document['errors'])}",
        f"search attributes  {', '.join(key.name for key in ATTRIBUTES)}",
        f"Nexus              service {nexus['service']}: {', '.join(nexus['operations'])}",
        "Payloads as JSON Schema: masking contract --json",
    ]


def _operations() -> dict[str, tuple[type[BaseModel], type[BaseModel]]]:
    definition = nexusrpc.get_service_definition(MaskingService)
    if definition is None:
        raise TypeError("MaskingService is no service definition")
    return {
        operation.name: (operation.input_type, operation.output_type)
        for operation in sorted(definition.operation_definitions.values(), key=lambda each: each.name)
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/$defs/{model.__name__}"}


def _name(model: type[BaseModel]) -> str:
    return model.__name__
