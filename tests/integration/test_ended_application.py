"""After a session's end its number may run its ordinary application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from masking.ports import serving
from tests.integration.conftest import Receiver, System, free_port
from tests.integration.telephone import Telephone, heard_on, speed, telephone
from tests.integration.test_switchboard import FIRST, STRANGER, create, expire

__all__ = ["speed", "telephone"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def port() -> int:
    """Where the ordinary application is."""
    return free_port()


@pytest.fixture
def more_settings(port: int) -> dict[str, Any]:
    return {"ended_answer_url": f"http://127.0.0.1:{port}/ordinary"}


@pytest.fixture
async def ordinary(port: int) -> AsyncIterator[list[dict[str, str]]]:
    """The number's ordinary application: remembers who reached it."""
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append({key: str(value) for key, value in (await request.post()).items()})
        return web.Response(text="<Response><Speak>Our hotline.</Speak></Response>", content_type="application/xml")

    app = web.Application()
    app.router.add_post("/ordinary", answer)
    async with serving(app, port):
        yield asked


async def test_late_callers_reach_the_numbers_ordinary_application_and_strangers_do_not(
    system: System, telephone: Telephone, receiver: Receiver, ordinary: list[dict[str, str]]
) -> None:
    session = await create(system, receiver)
    await expire(system, session)
    late = await telephone.call(FIRST, session["number"])
    stranger = await telephone.call(STRANGER, session["number"])

    assert heard_on(late, "caller") == ["Our hotline."]
    assert late.callee is None
    assert [form["From"] for form in ordinary] == [FIRST[1:]]
    assert stranger.caller.cause.name == "Rejected"
