"""What commands about many sessions say of what they have done when they are stopped."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import pytest

from masking.operate.many import FAILED, NotMeant, Outcome, confirm, in_turns, outcomes_shown

pytestmark = pytest.mark.anyio


async def test_whoever_stops_it_learns_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    third = asyncio.Event()

    async def one(session_uuid: str) -> Outcome:
        if session_uuid == "c":
            third.set()
            await asyncio.Event().wait()
        return Outcome(session_uuid, FAILED if session_uuid == "b" else "over already")

    async def work() -> None:
        with outcomes_shown("Ending sessions", 4, quiet=False) as done:
            await in_turns(["a", "b", "c", "d"], 1, one, done)

    working = asyncio.create_task(work())
    await third.wait()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "masking: stopped after 2 of 4: 1 over already, 1 failed\n")


def test_a_question_that_nobody_answers_is_no_yes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class AtAnEnd:
        def isatty(self) -> bool:
            return True

        def readline(self, *_: object) -> str:
            return ""

    monkeypatch.setattr(sys, "stdin", AtAnEnd())
    with pytest.raises(NotMeant, match="no session was ended"):
        confirm("ends 3 sessions", "End 3 sessions now?", "no session was ended")
    assert "End 3 sessions now?" in capsys.readouterr().err
