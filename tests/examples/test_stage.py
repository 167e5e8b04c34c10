"""What an example reports, and how it exits, when a step did not happen. That all goes well, tests/systems plays."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any, cast

import pytest
from rich.console import Console

from examples import stage
from examples.ride.workflow import Ride
from examples.stage import Stage, shown, some_phones
from masking.demo.timeline import StepFailed
from masking.errors import StartupError
from masking.provision import DemoAccount
from masking.run.system import ReadySystem
from masking.settings import Settings

SYSTEM = ReadySystem("http://api", DemoAccount("MA", "token"), "http://phones", "http://ui", None, cast(Any, None), {})


@asynccontextmanager
async def a_system(settings: Settings, console: Console) -> AsyncIterator[ReadySystem]:
    yield SYSTEM


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Performs a story on a stage that is none, and tells the exit code."""

    async def operated_client(settings: Settings) -> None:
        return None

    class Worker(nullcontext[None]):
        def __init__(self, *_: object, **__: object) -> None:
            super().__init__()

    monkeypatch.setattr(stage, "system_in_use", a_system)
    monkeypatch.setattr(stage, "operated_client", operated_client)
    monkeypatch.setattr(stage, "MaskingClient", lambda client, **_: None)
    monkeypatch.setattr(stage, "Worker", Worker)

    def perform(story: Callable[[Stage], Awaitable[object]], *arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["example", *arguments])
        with pytest.raises(SystemExit) as exit_:
            stage.perform("A story", story, Ride)
        return int(str(exit_.value.code))

    return perform


async def stops(on: Stage) -> None:
    on.tell("rider", "calls")
    raise StepFailed("the phone did not [/ring]")


async def goes_well(on: Stage) -> None:
    on.tell("rider", "calls")


def test_a_step_that_did_not_happen_is_told_and_exits_with_1(
    performed: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert performed(stops) == 1
    assert "It stopped: the phone did not [/ring]" in capsys.readouterr().out

    assert performed(stops, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["failure"]) == (False, "the phone did not [/ring]")
    assert [(line["who"], line["what"]) for line in report["timeline"]] == [("rider", "calls")]


def test_a_story_that_goes_well_exits_with_0(performed: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert performed(goes_well) == 0
    assert "Every step happened." in capsys.readouterr().out

    assert performed(goes_well, "--json") == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_without_a_system_it_says_what_to_do_and_exits_with_2(
    performed: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def none(settings: Settings, console: Console) -> AsyncIterator[ReadySystem]:
        raise StartupError("start it")
        yield SYSTEM

    monkeypatch.setattr(stage, "system_in_use", none)

    assert performed(goes_well) == 2
    assert capsys.readouterr().err == "masking: start it\n"


def test_without_a_number_the_story_stops() -> None:
    assert shown("+12025550142") == "+12025550142"
    with pytest.raises(StepFailed, match="masking numbers add"):
        shown(None)


def test_the_phones_of_a_story_are_nobodys() -> None:
    phones = some_phones(5)
    assert len({phone[-4:] for phone in phones}) == 5
    assert all(phone[5:10] == "55501" and len(phone) == 12 for phone in phones)
