"""The commands of docs/client.md for callers without our client, run as they stand there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from temporalio.client import Client

from masking.client import AccountUnknown, NewSession, SessionRefused
from masking.contract import ENCRYPTED, session_workflow_id
from masking.domain.terms import SessionRequest
from masking.gateway.codec_endpoint import codec_served
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage.accounts import Principal, disable_account
from masking.storage.database import Database
from masking.storage.sessions import read_session
from tests.conftest import ACCOUNT
from tests.integration.conftest import System, free_port

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parent.parent.parent / "docs" / "client.md"
TOKEN = "a-token-of-a-command-line-0123456789"


PRICED = {"rate": {"per_minute": "0", "increment": 1}}
"""As the gateway's requests are, which it has checked; anybody can write so."""


def good_terms(**more: object) -> dict[str, object]:
    """Terms of two parties."""
    return {"first_party": "+12025550101", "second_party": "+12025550102", **more}


def with_pins(**pin: object) -> dict[str, object]:
    """Terms with such PINs."""
    pin = {"prompt_play": "https://customer.example/pin.mp3", **pin}
    return good_terms(pin=pin)


def commands(section: str) -> str:
    """The first block of commands in a section of the page."""
    _, _, rest = PAGE.read_text().partition(f"## {section}\n")
    found = re.search(r"```bash\n(.*?)```", rest, re.DOTALL)
    assert found is not None
    return found[1]


async def sh(script: str, client: Client, task_queue: str, **environment: str) -> list[str]:
    """Run commands with the test's server and queue; what each printed."""
    script = script.replace("--task-queue masking", f"--task-queue {task_queue}")
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euc",
        script.replace("\n\n", "\n\necho ---\n"),
        env={
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "TEMPORAL_ADDRESS": client.service_client.config.target_host,
            "TEMPORAL_NAMESPACE": client.namespace,
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode().split("---")


async def test_a_session_lives_its_life_at_the_command_line_and_is_ciphertext(
    system: System, database: Database, keyring: Keyring, task_queue: str
) -> None:
    session = str(uuid4())
    settings = Settings(codec_port=free_port(), codec_tokens=SecretStr(f"cli:{TOKEN}"))
    async with codec_served(database, keyring, settings):
        told = await sh(
            commands("From other languages: the contract"),
            system.client,
            task_queue,
            SESSION=session,
            AUTH_ID=ACCOUNT,
            CODEC_URL=settings.codec_url,
            CODEC_TOKEN=TOKEN,
        )

    assert "+1202555" in told[1]
    assert '"status":"active"' in told[2].replace(" ", "")
    bill = await system.sessions.final_bill(session)
    assert bill.settled_at is not None
    assert session in told[2]
    history = await system.client.get_workflow_handle(session_workflow_id(session)).fetch_history()
    (given,) = history.events[0].workflow_execution_started_event_attributes.input.payloads
    assert given.metadata["encoding"] == ENCRYPTED
    assert "2025550101" not in json.dumps(history.to_json_dict())


async def test_a_payload_in_the_clear_is_taken_and_is_in_the_clear(system: System, task_queue: str) -> None:
    session = str(uuid4())
    asked = {
        "session_uuid": session,
        "account_id": ACCOUNT,
        "session_expiry": 600,
        "terms": {"first_party": "+12025550101", "second_party": "+12025550102"},
    }
    await sh(
        "temporal workflow start --type MaskingSession --task-queue masking --workflow-id session-$SESSION"
        ' --input "$INPUT"',
        system.client,
        task_queue,
        SESSION=session,
        INPUT=json.dumps(asked),
    )

    assert (await system.sessions.opened(session)).virtual_number.startswith("+1")
    history = await system.client.get_workflow_handle(session_workflow_id(session)).fetch_history()
    (given,) = history.events[0].workflow_execution_started_event_attributes.input.payloads
    assert b"+12025550101" in given.data
    await system.sessions.expire(session)


@pytest.mark.parametrize(
    ("wrong", "type_"),
    [
        ({"account_id": "MA000000000000000000"}, "AccountUnknown"),
        ({"subaccount_id": "SA000000000000000000"}, "AccountUnknown"),
        ({"terms": {"first_party": "911", "second_party": "+12025550102"}}, "SessionRefused"),
        ({"terms": {"first_party": "+12025550102", "second_party": "+12025550102"}}, "SessionRefused"),
        ({"session_expiry": 10**13}, "SessionRefused"),
        ({"session_expiry": 0}, "SessionRefused"),
        (
            {"terms": {"first_party": "+12025550101", "second_party": "+12025550102", "ring_timeout": 10**13}},
            "SessionRefused",
        ),
        ({"account_id": "MA0\0"}, "SessionRefused"),
        ({"subaccount_id": "SA0\0"}, "SessionRefused"),
        ({"terms": good_terms(preferred_number="+1\0")}, "SessionRefused"),
        (PRICED | {"account_id": "MA000000000000000000"}, "AccountUnknown"),
        (PRICED | {"terms": {"first_party": "911", "second_party": "+12025550102"}}, "SessionRefused"),
        (PRICED | {"pair_grace": 10**13}, "SessionRefused"),
        (PRICED | {"recording_wait": 10**13}, "SessionRefused"),
        ({"terms": with_pins(generate=True, generate_length=10**9)}, "SessionRefused"),
        ({"terms": with_pins(first_party="4711", second_party="4711")}, "SessionRefused"),
        ({"terms": with_pins(first_party="4711", second_party="1")}, "SessionRefused"),
        ({"terms": with_pins(first_party="4711", second_party="4712", retry=10**9)}, "SessionRefused"),
    ],
)
async def test_what_the_client_would_have_told_the_worker_tells_those_without_it(
    system: System, task_queue: str, wrong: dict[str, object], type_: str
) -> None:
    good = {"first_party": "+12025550101", "second_party": "+12025550102"}
    asked = {"session_uuid": str(uuid4()), "account_id": ACCOUNT, "session_expiry": 600, "terms": good}
    with pytest.raises(SessionRefused) as told:
        await system.sessions.start(SessionRequest.model_validate(asked | wrong))
    assert type(told.value).__name__ == type_
    assert "911" not in str(told.value)
    assert "4711" not in str(told.value)


@pytest.mark.parametrize("names_a_price", [False, True])
async def test_an_account_that_was_disabled_gets_no_session_by_temporal_either(
    system: System, names_a_price: bool
) -> None:
    async with system.database.transaction() as connection:
        await disable_account(connection, ACCOUNT)
    wanted = NewSession(account_id=ACCOUNT, first_party="+12025550101", second_party="+12025550102")
    request = SessionRequest.model_validate(
        wanted.request(str(uuid4())).model_dump() | (PRICED if names_a_price else {})
    )
    with pytest.raises(AccountUnknown, match="it is disabled"):
        await system.sessions.start(request)


async def test_the_operators_rates_and_waits_hold_for_who_came_by_temporal(system: System, keyring: Keyring) -> None:
    opened = await system.sessions.start(
        NewSession(account_id=ACCOUNT, first_party="+12025550101", second_party="+12025550102")
    )
    async with system.database.transaction() as connection:
        held = await read_session(connection, keyring, Principal(ACCOUNT, None), opened.session_uuid)
    assert held is not None
    assert held.rate.per_minute == system.settings.rate_per_minute
    assert held.recording_wait == system.settings.recording_wait
    assert held.resource_base_url == f"{system.settings.base_url}/v1/Account/{ACCOUNT}"
    assert held.terms.ring_timeout == system.settings.ring_timeout
    await system.sessions.expire(opened.session_uuid)
