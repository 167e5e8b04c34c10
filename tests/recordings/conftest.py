"""A carrier that hands recordings over, or fails as it is told, over real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from aiohttp import web

from masking.carriers.voice.calls_api import CallsApi
from masking.domain.events import RecordingCompleted
from masking.domain.lifecycle import opened
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.storage import recordings
from masking.storage.database import Database
from masking.storage.sessions import session_cipher
from masking.tls import trusted
from tests.domain.conversation import FIRST, SECOND, call
from tests.integration.conftest import free_port
from tests.storage.test_routes import asked, open_, record

AUTH_ID, TOKEN = "MACARRIER00000000000", "carrier-token"
AUDIO = bytes(n % 251 for n in range(300_000))


@dataclass
class Carrier:
    """Serves audio and deletes it.

    Attributes:
        faults: what becomes of the next requests for audio: `500`, `404`, `cut`, `stall`; then it serves.
        deletions: the same for requests to delete: `500`, `cut` (deleted, and the answer lost).
    """

    url: str
    faults: list[str] = field(default_factory=list)
    deletions: list[str] = field(default_factory=list)
    served: Counter[str] = field(default_factory=Counter)
    deleted: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def audio(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else ""
        if fault.isdecimal():
            return web.Response(status=int(fault))
        self.served[request.match_info["file"]] += 1
        answer = web.StreamResponse(headers={"Content-Length": str(len(AUDIO))})
        await answer.prepare(request)
        await answer.write(AUDIO[:150_000])
        if fault == "cut":
            assert request.transport is not None
            request.transport.close()
            return answer
        if fault == "stall":
            await self.released.wait()
        await answer.write(AUDIO[150_000:])
        return answer

    async def delete(self, request: web.Request) -> web.Response:
        fault = self.deletions.pop(0) if self.deletions else ""
        if fault.isdecimal():
            return web.Response(status=int(fault))
        recording_id = request.match_info["recording_id"]
        if recording_id in self.deleted:
            return web.json_response({"error": "not found"}, status=404)
        self.deleted.append(recording_id)
        if fault == "cut":
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=204)


@pytest.fixture
async def carrier() -> AsyncIterator[Carrier]:
    port = free_port()
    carrier = Carrier(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_get("/media/{file}", carrier.audio)
    app.router.add_delete(f"/v1/Account/{AUTH_ID}/Recording/{{recording_id}}/", carrier.delete)
    async with serving(app, port):
        yield carrier
        carrier.released.set()


@pytest.fixture
async def orders(carrier: Carrier) -> AsyncIterator[CallsApi]:
    async with httpx.AsyncClient(trust_env=False, timeout=20, verify=trusted()) as http:
        yield CallsApi(http, carrier.url, AUTH_ID, TOKEN)


@dataclass
class Sessions:
    """Sessions whose recordings are ready."""

    database: Database
    keyring: Keyring
    carrier: Carrier

    async def recorded(self, *names: str, to_delete: bool = False) -> str:
        """A session with recordings of these names. Its id."""
        session = asked(FIRST, SECOND)
        await open_(self.database, self.keyring, session)
        await record(self.database, self.keyring, opened(session, "+12025550199").session)
        await self.noted(session.session_uuid, *names, to_delete=to_delete)
        return session.session_uuid

    async def noted(self, session_uuid: str, *names: str, to_delete: bool = False) -> None:
        """Recordings of these names are ready."""
        at = datetime.now(UTC)
        async with self.database.transaction() as connection:
            cipher = await session_cipher(connection, self.keyring, session_uuid)
            assert cipher is not None
            for name in names:
                event = RecordingCompleted(
                    event_id=str(uuid4()), at=at, call=call(), recording_id=name, duration=5,
                    url=f"{self.carrier.url}/media/{name}.mp3", started_at=at, ended_at=at, file_format="mp3",
                )  # fmt: skip
                for _ in range(2):
                    await recordings.note(connection, session_uuid, cipher, event, to_delete=to_delete)

    async def states(self) -> dict[str, tuple[str, bool]]:
        """By recording, its state, and whether the carrier has it as far as we know."""
        async with self.database.transaction() as connection:
            rows = await connection.execute("SELECT recording_id, state, at_carrier FROM recordings")
            return {str(name): (str(state), bool(there)) for name, state, there in await rows.fetchall()}

    async def due_now(self) -> None:
        """Let everything be tried again at once."""
        async with self.database.transaction() as connection:
            await connection.execute("UPDATE recordings SET due_at = now()")


@pytest.fixture
def sessions(database: Database, keyring: Keyring, carrier: Carrier) -> Sessions:
    return Sessions(database, keyring, carrier)
