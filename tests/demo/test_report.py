"""What the demo reports when all goes well is tested in tests/systems; here is what it reports when not."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from rich.console import Console

from masking.demo import command, story
from masking.demo.receiver import Callback
from masking.demo.story import Played
from masking.demo.timeline import StepFailed, Timeline
from masking.provision import DemoAccount
from masking.run.system import ReadySystem
from masking.settings import Settings

pytestmark = pytest.mark.anyio

SESSION = {"session_uuid": "00000000-0000-4000-8000-000000000001"}
CALLBACK: Callback = {"EventName": "SessionFirstPartyAnswer"}
SYSTEM = ReadySystem("http://api", DemoAccount("MA", "token"), "http://phones", "http://ui", None, cast(Any, None), {})


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Lets the story stop after its first steps."""

    def stop_with(error: Exception) -> None:
        async def play(system: ReadySystem, timeline: Timeline, played: Played) -> None:
            timeline.add("backend", "created [/red]")
            played.session, played.callbacks = SESSION, [CALLBACK]
            raise error

        monkeypatch.setattr(command, "play", play)

    @asynccontextmanager
    async def system(settings: Settings, console: Console) -> AsyncIterator[ReadySystem]:
        yield SYSTEM

    monkeypatch.setattr(command, "system_in_use", system)
    return stop_with


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StepFailed("it did not ring"), "it did not ring"),
        (httpx.ReadTimeout("too slow"), "ReadTimeout: too slow"),
        (KeyError("session"), "KeyError: 'session'"),
    ],
)
async def test_whatever_stops_it_the_report_tells_how_far_it_went(
    failing: Callable[[Exception], None], capsys: pytest.CaptureFixture[str], error: Exception, words: str
) -> None:
    failing(error)

    assert await command.demo(Settings(), as_json=True) == 1

    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["failure"]) == (False, words)
    assert (report["session"], report["callbacks"]) == (SESSION, [CALLBACK])
    assert report["temporal_ui_url"].endswith(f"/workflows/session-{SESSION['session_uuid']}")
    assert [line["what"] for line in report["timeline"]] == ["created [/red]"]


async def test_a_person_is_told_too(failing: Callable[[Exception], None], capsys: pytest.CaptureFixture[str]) -> None:
    failing(StepFailed("a [/bold] failure"))

    assert await command.demo(Settings(), as_json=False) == 1

    told = capsys.readouterr().out
    assert "The demo stopped: a [/bold] failure" in told
    assert f"/workflows/session-{SESSION['session_uuid']}" in told


def test_what_is_strong_is_so_for_eyes_only() -> None:
    shown = io.StringIO()
    timeline = Timeline(Console(file=shown, force_terminal=True, color_system="standard"))

    timeline.add("bill", "2 legs, 0.01700 USD", "0.01700 USD")

    assert timeline.lines[0].what == "2 legs, 0.01700 USD"
    assert "\x1b[1m0.01700 USD\x1b[0m" in shown.getvalue()


async def test_a_session_that_is_not_settled_stops_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsettled:
        async def final_bill(self, session_uuid: str) -> None:
            raise TimeoutError

    monkeypatch.setattr(story, "SETTLED_WITHIN_S", 0.1)
    with pytest.raises(StepFailed, match=r"not settled within 0\.1 s"):
        await story._settled(
            ReadySystem("http://api", SYSTEM.account, "http://phones", None, None, cast(Any, Unsettled()), {}), SESSION
        )


def test_the_picture_shows_every_line_whole_and_loads_nothing() -> None:
    timeline = Timeline(None)
    timeline.add("callback", "SessionFirstPartyAnswer")
    timeline.add("backend", "extended: expires 2026-11-27 08:28:42 +0000 UTC instead of 2026-11-27 08:08:35 +0000 UTC")

    drawn = timeline.svg("masking demo").replace("&#160;", " ")

    assert "masking demo" in drawn
    assert "SessionFirstPartyAnswer" in drawn
    assert "instead of 2026-11-27 08:08:35 +0000 UTC" in drawn
    assert "@font-face" not in drawn
    assert re.findall(r"https?://[^\"' )<]+", drawn) == ["http://www.w3.org/2000/svg"]
