"""A conversation's recording in our own storage: the same URL for the customer, and gone at the carrier."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from masking.carriers.simulator.phones import Behaviour
from tests.integration.conftest import Receiver, System
from tests.integration.telephone import Telephone, heard, speed, telephone
from tests.integration.test_switchboard import FIRST, SECOND, create

__all__ = ["speed", "telephone"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def more_settings(tmp_path: Path) -> dict[str, Any]:
    return {"recordings": str(tmp_path / "ours"), "delete_carrier_recordings": True}


async def state(system: System) -> tuple[str, bool]:
    async with system.database.transaction() as connection:
        row = await (await connection.execute("SELECT state, at_carrier FROM recordings")).fetchone()
    assert row is not None
    return str(row[0]), bool(row[1])


async def test_a_recording_is_fetched_served_from_ours_and_deleted_at_the_carrier(
    system: System, telephone: Telephone, receiver: Receiver, tmp_path: Path
) -> None:
    told = {"record": True, "recording_callback_url": receiver.url, "record_file_format": "wav"}
    session = await create(system, receiver, **told)
    # So long that the file has many pieces.
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=60))
    await telephone.over(await telephone.phones.dial(FIRST, session["number"]))
    url = (await heard(receiver, "SessionRecordingCompleted"))["RecordingURL"]
    async with asyncio.timeout(20):
        while await state(system) != ("kept", False):  # noqa: ASYNC110 it is beside us
            await asyncio.sleep(0.02)

    assert not list((tmp_path / "recordings").glob("*")), "the carrier has deleted it"
    answer = await system.http.get(url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "audio/wav")
    assert answer.content.startswith(b"RIFF")
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    (file,) = [path for path in (tmp_path / "ours").rglob("*") if path.is_file()]
    assert b"RIFF" not in file.read_bytes()

    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    # Its first pieces are sound, and on their way by then. It breaks off, so that nobody waits for the rest.
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await system.http.get(url)

    file.write_bytes(whole[:20])
    spoiled = await system.http.get(url)
    assert (spoiled.status_code, spoiled.json()["error"]) == (
        502,
        "This recording cannot be read now. Try again later.",
    )
