"""The official Python SDK, unmodified, through every operation and the errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import plivo
import plivo.rest.client as plivo_client
import pytest

from tests.conftest import ACCOUNT, TOKEN
from tests.integration.conftest import System
from tests.integration.test_create_once import Forgetful, forgets_answers

__all__ = ["forgets_answers"]
pytestmark = pytest.mark.anyio

FIRST, SECOND = "+12025550101", "+12025550102"


@pytest.fixture
def client(system: System, monkeypatch: pytest.MonkeyPatch) -> plivo.RestClient:
    # Masking calls use a base URL of their own that only these module variables set (plivo-wire.md §2).
    for name in ("API_VOICE_BASE_URI", "API_VOICE_BASE_URI_FALLBACK_1", "API_VOICE_BASE_URI_FALLBACK_2"):
        monkeypatch.setattr(plivo_client, name, f"{system.settings.base_url}/v1/Account")
    return plivo.RestClient(ACCOUNT, TOKEN)


async def ask(operation: Callable[..., Any], **arguments: Any) -> Any:
    return await asyncio.to_thread(operation, **arguments)


async def test_the_python_sdk_goes_through_every_operation(client: plivo.RestClient) -> None:
    sessions = client.masking_sessions
    created = await ask(
        sessions.create_masking_session,
        first_party=FIRST, second_party=SECOND, session_expiry=600, call_time_limit=300, ring_timeout=20,
        record=True, record_file_format="wav", is_pin_authentication_required=True, generate_pin=True,
        generate_pin_length=5, pin_prompt_play="https://customer.example/pin.mp3", geomatch=True,
        force_pin_authentication=True, virtual_number_cooloff_period=60,
    )  # fmt: skip
    uuid = created.session_uuid
    got = await ask(sessions.get_masking_session, session_uuid=uuid)
    updated = await ask(sessions.update_masking_session, session_uuid=uuid, session_expiry=7200, record=False)
    listed = await ask(
        sessions.list_masking_session, status="active", first_party=FIRST, duration__gte="7000", limit=5, offset=0
    )
    expired = await ask(sessions.delete_masking_session, session_uuid=uuid)

    assert (created.message, created.virtual_number) == ("Session created", "+12025550199")
    assert created.session.virtual_number == "12025550199"
    assert (created.session.first_party, created.session.second_party) == (FIRST[1:], SECOND[1:])
    assert (created.session.duration, created.session.call_time_limit, created.session.ring_timeout) == (600, 300, 20)
    assert created.session.first_party_pin != created.session.second_party_pin
    assert len(created.session.first_party_pin) == 5
    assert created.session.force_pin_authentication is True
    assert vars(got.response) == vars(created.session)
    assert (updated.message, updated.session.record, updated.session.duration // 10) == ("Session updated", False, 720)
    assert listed.response.meta.total_count == 1
    assert listed.response.objects[0].session_uuid == uuid
    assert expired.message == "Session expired"


async def test_the_python_sdk_raises_the_error_that_belongs_to_each_answer(client: plivo.RestClient) -> None:
    sessions = client.masking_sessions
    created = await ask(sessions.create_masking_session, first_party=FIRST, second_party=SECOND)
    await ask(sessions.delete_masking_session, session_uuid=created.session_uuid)

    with pytest.raises(plivo.exceptions.ValidationError, match="second_party must differ from first_party"):
        await ask(sessions.create_masking_session, first_party=FIRST, second_party=FIRST)
    for operation in (sessions.delete_masking_session, sessions.update_masking_session):
        with pytest.raises(plivo.exceptions.ValidationError, match="Session already expired"):
            await ask(operation, session_uuid=created.session_uuid)
    with pytest.raises(plivo.exceptions.ResourceNotFoundError, match="not found"):
        await ask(sessions.get_masking_session, session_uuid="no-such-session")
    stranger = plivo.RestClient(ACCOUNT, "not the token")
    with pytest.raises(plivo.exceptions.AuthenticationError):
        await ask(stranger.masking_sessions.get_masking_session, session_uuid=created.session_uuid)


async def test_the_python_sdks_own_resends_make_one_session(
    client: plivo.RestClient, forgets_answers: Forgetful
) -> None:
    forgets_answers(2)
    created = await ask(client.masking_sessions.create_masking_session, first_party=FIRST, second_party=SECOND)
    listed = await ask(client.masking_sessions.list_masking_session)

    assert [session.session_uuid for session in listed.response.objects] == [created.session_uuid]
