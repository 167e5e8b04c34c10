"""Where the examples are played: a running system, its simulated phones, and somebody who tells what happens."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape
from temporalio.client import Client
from temporalio.worker import Worker

from examples.sessions import SessionActivities
from masking.carriers.simulator.client import SimulatorClient
from masking.carriers.simulator.phones import Behaviour
from masking.carriers.simulator.records import CallRecord
from masking.client import MaskingClient
from masking.demo.system import system_in_use
from masking.demo.timeline import StepFailed, Timeline, check, what_stopped
from masking.errors import StartupError
from masking.operate.temporal_client import operated_client
from masking.process import EXIT_CANNOT_START, configure_logging
from masking.settings import Settings, load_settings

EXIT_STEP_FAILED = 1
AREA_CODES = (202, 206, 212, 213, 303, 305, 312, 404, 415, 503, 512, 617)

Story = Callable[["Stage"], Awaitable[object]]


@dataclass(frozen=True)
class Stage:
    """What a story needs. Phone numbers are E.164.

    Attributes:
        task_queue: of the example's own worker.
        options: what the command line says besides.
    """

    account_id: str
    client: Client
    task_queue: str
    phones: SimulatorClient
    timeline: Timeline
    options: argparse.Namespace = field(default_factory=argparse.Namespace)

    def tell(self, who: str, what: str, strong: str = "") -> None:
        """Tell what somebody did."""
        self.timeline.add(who, what, strong)

    async def talk(
        self, who: str, phone: str, number: str, other: str, others_phone: str, *, presses: str = ""
    ) -> CallRecord:
        """Let `who` call a virtual number, and see that just the other's phone rings and shows just that number."""
        await self.phones.behave(phone, Behaviour(presses=(presses,) if presses else ()))
        call_uuid = await self.phones.dial(phone, number)
        typed = f" and enters a PIN of {len(presses.rstrip('#'))} digits" if presses else ""
        self.tell(who, f"calls {number}{typed}", number)
        return await self.connected(call_uuid, other, others_phone, number)

    async def connected(self, call_uuid: str, other: str, others_phone: str, number: str) -> CallRecord:
        """The call once both talk; the other party, who is called, must see the virtual number and no other."""
        record = await self.phones.call_once(call_uuid, _connected, f"reach the {other}")
        callee = record.callee
        check(callee is not None and callee.number == others_phone, f"another phone than the {other}'s rang")
        check(callee is not None and callee.screen == number, f"the {other} saw another number than the virtual one")
        self.tell(other, f"answers; the screen shows {number}", number)
        return record

    async def hang_up(self, who: str, phone: str, call: CallRecord) -> None:
        """End a call."""
        await self.phones.hang_up(phone)
        await self.phones.call_once(call.call_uuid, lambda record: record.reported, "end")
        self.tell(who, "hangs up")

    async def is_turned_away(self, who: str, phone: str, number: str) -> None:
        """Let `who` call a number that must not connect any more."""
        call_uuid = await self.phones.dial(phone, number)
        record = await self.phones.call_once(call_uuid, lambda call: call.reported, "end")
        check(record.callee is None, f"the {who} was still connected")
        self.tell(who, f"calls {number} once more, and reaches nobody", number)


def some_phones(count: int) -> list[str]:
    """So many phones that nobody has, of all the numbers that are kept for stories, and none that a page names."""
    lines = random.sample(range(110, 140), count)
    return [f"+1{random.choice(AREA_CODES)}5550{line}" for line in lines]


def shown(virtual_number: str | None) -> str:
    """The number that the apps show; without one the story stops."""
    if virtual_number is None:
        raise StepFailed("no virtual number is free; wait for those in use, or add some: masking numbers add")
    return virtual_number


def no_options(parser: argparse.ArgumentParser) -> None:
    """Of a story that has none of its own."""
    del parser


def perform(
    title: str,
    story: Story,
    workflow: type,
    *activities: Callable[..., Any],
    options: Callable[[argparse.ArgumentParser], None] = no_options,
) -> NoReturn:
    """Play a story on the system that runs, and exit: 0 when every step happened, else 1; 2 without a system.

    Args:
        options: adds what the story's command line knows besides.
    """
    parser = argparse.ArgumentParser(description=f"{title}, on the system of `make run`.")
    parser.add_argument("--json", action="store_true", help="print one JSON object for machines")
    options(parser)
    told = parser.parse_args()
    try:
        settings = load_settings()
        configure_logging(settings, "example")
        sys.exit(asyncio.run(_perform(settings, title, story, workflow, activities, told)))
    except StartupError as error:
        sys.stderr.write(f"masking: {error}\n")
        sys.exit(EXIT_CANNOT_START)


async def _perform(
    settings: Settings,
    title: str,
    story: Story,
    workflow: type,
    activities: tuple[Callable[..., Any], ...],
    options: argparse.Namespace,
) -> int:
    as_json: bool = options.json
    console = Console(highlight=False, stderr=as_json, quiet=as_json)
    async with system_in_use(settings, console) as system, SimulatorClient(system.simulator_url) as phones:
        client, task_queue = await operated_client(settings), f"example-{workflow.__name__}"
        of_sessions = SessionActivities(MaskingClient(client, lookup=settings.lookup))
        timeline = Timeline(console)
        stage = Stage(system.account.auth_id, client, task_queue, phones, timeline, options)
        console.print(f"\n[bold]{title}[/]\n")
        async with Worker(
            client, task_queue=task_queue, workflows=[workflow], activities=[*of_sessions.all, *activities]
        ):
            failure = await what_stopped(story(stage))
    if as_json:
        lines = [line.model_dump() for line in timeline.lines]
        print(json.dumps({"ok": not failure, "failure": failure or None, "timeline": lines}))
    elif failure:
        console.print(f"\n[bold red]It stopped:[/] {escape(failure)}")
    else:
        console.print("\n[bold green]Every step happened.[/]")
        console.print(f"The workflows' own stories: {system.temporal_ui_url or 'in the Temporal UI'}", soft_wrap=True)
    return EXIT_STEP_FAILED if failure else 0


def _connected(call: CallRecord) -> bool:
    return call.callee is not None and call.callee.connected
