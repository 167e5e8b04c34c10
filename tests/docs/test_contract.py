"""The contract for callers in any language is what the code says, and docs/contract.json is the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator, ValidationError
from typer.testing import CliRunner

from masking.cli import app
from masking.client import NewSession
from masking.contract import EVENTS, SIGNAL_EVENTS, UPDATE_RECORD_AGAIN
from masking.contract_document import contract_document
from masking.domain.bill.charges import bill
from masking.domain.lifecycle import opened, requested
from masking.domain.snapshot import snapshot
from masking.lookup import kinds
from masking.nexus import MaskingService
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND, START, VIRTUAL, answered_call, call
from workflows.masking_session import MaskingSession

DOCS = Path(__file__).parent.parent.parent / "docs"


def schema(reference: dict[str, str]) -> dict[str, Any]:
    return {**reference, "$defs": contract_document()["$defs"]}


def fits(value: object, reference: dict[str, str]) -> None:
    Draft202012Validator(schema(reference)).validate(value)


def test_the_file_is_what_the_models_say() -> None:
    """Made by `masking contract --json > docs/contract.json`."""
    told = CliRunner().invoke(app, ["contract", "--json"])
    assert told.exit_code == 0
    assert (DOCS / "contract.json").read_text() == told.stdout
    assert json.loads(told.stdout) == contract_document()


def test_people_are_told_the_names() -> None:
    told = CliRunner().invoke(app, ["contract"]).stdout
    for name in (
        "MaskingSession",
        "opened, extend, modify, expire",
        "snapshot, story",
        "MaskingStatus",
        "AccountUnknown",
    ):
        assert name in told


def test_it_names_what_the_workflow_listens_to() -> None:
    definition = MaskingSession.__temporal_workflow_definition  # type: ignore[attr-defined]
    document = contract_document()
    assert definition.name == document["workflow"]["type"]
    assert {*document["updates"], UPDATE_RECORD_AGAIN} == set(definition.updates), "that one is our operators'"
    assert set(document["queries"]) == set(definition.queries)
    assert set(document["signals"]) == set(definition.signals) == {*EVENTS, SIGNAL_EVENTS}
    assert set(document["nexus"]["operations"]) == set(MaskingService.__annotations__)
    assert document["search_attributes"] == kinds()


def test_real_payloads_fit_their_schemas() -> None:
    wanted = NewSession(account_id=ACCOUNT, first_party=FIRST, second_party=SECOND, idempotency_key="k")
    request = wanted.request(str(uuid4()))
    session = opened(requested(request, START), VIRTUAL).session
    document = contract_document()
    fits(wanted.model_dump(mode="json"), document["nexus"]["operations"]["start"]["input"])
    fits(request.model_dump(mode="json"), document["workflow"]["input"])
    fits(bill(session).model_dump(mode="json"), document["workflow"]["result"])
    fits(snapshot(session).model_dump(mode="json"), document["queries"]["snapshot"]["result"])
    for event in answered_call(call()):
        fits(event.model_dump(mode="json"), document["signals"][event.kind]["input"])


def test_the_least_that_a_caller_must_say_fits() -> None:
    document = contract_document()
    least = {
        "session_uuid": str(uuid4()),
        "account_id": ACCOUNT,
        "session_expiry": 600,
        "terms": {"first_party": FIRST, "second_party": SECOND},
    }
    fits(least, document["workflow"]["input"])
    with pytest.raises(ValidationError):
        fits({**least, "session_expiry": "soon"}, document["workflow"]["input"])
