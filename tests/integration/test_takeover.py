"""Whoever may start workflows starts sessions of their own, and takes over nobody's."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from masking.contract import WORKFLOW_TYPE, session_workflow_id
from masking.domain.lifecycle import opened, requested
from masking.domain.start import Carried, SessionStart
from masking.domain.terms import SessionRequest
from masking.privacy.keyring import Keyring
from masking.storage.accounts import Principal
from masking.storage.sessions import read_session
from tests.conftest import ACCOUNT
from tests.domain.conversation import at
from tests.integration.conftest import System
from tests.integration.reported_calls import FIRST, SECOND, create, ring_at

pytestmark = pytest.mark.anyio

MINE = "12025550166"


def request_for(session_uuid: str) -> SessionRequest:
    """A session of others that would connect the first party with a phone of mine."""
    return SessionRequest.model_validate(
        {
            "session_uuid": session_uuid,
            "account_id": ACCOUNT,
            "session_expiry": 7200,
            "terms": {"first_party": f"+{FIRST}", "second_party": f"+{MINE}"},
        }
    )


@pytest.mark.parametrize("goes_on", [False, True], ids=["a start", "a run that goes on from a state"])
async def test_a_workflow_writes_nothing_of_a_session_that_is_anothers(
    system: System, keyring: Keyring, task_queue: str, goes_on: bool
) -> None:
    session = await create(system)
    victim = str(session["session_uuid"])
    async with system.database.transaction() as connection:
        before = await read_session(connection, keyring, Principal(ACCOUNT, None), victim)
    asked = request_for(victim)
    number = f"+{session['virtual_number']}"
    state = opened(requested(asked, at(0)), number).session.model_copy(update={"version": 50})
    carried = Carried(session=state) if goes_on else None

    handle = await system.client.start_workflow(
        WORKFLOW_TYPE,
        SessionStart(**dict(asked), carried=carried),
        id=session_workflow_id(str(uuid4())),
        task_queue=task_queue,
    )
    try:
        async with asyncio.timeout(60):
            if goes_on:
                with pytest.raises(WorkflowFailureError):
                    await handle.result()
            else:
                assert "another session" in str(await handle.result())
    finally:
        if (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            await handle.terminate()

    async with system.database.transaction() as connection:
        assert await read_session(connection, keyring, Principal(ACCOUNT, None), victim) == before
    document = await ring_at(system, session["virtual_number"], FIRST)
    assert document.findtext("Dial/Number") == SECOND
