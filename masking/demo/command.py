"""`masking demo`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console

from masking.carriers.simulator.client import SimulatorError
from masking.contract import session_workflow_id
from masking.demo.story import play
from masking.demo.timeline import StepFailed, Timeline
from masking.errors import StartupError
from masking.privacy.keyring import load_keyring
from masking.provision import demo_account
from masking.run.system import ReadySystem, is_healthy, running_system, temporal_ui_url
from masking.settings import Settings

EXIT_STEP_FAILED = 1


async def demo(settings: Settings, *, as_json: bool) -> int:
    """Play the demo. Returns the exit code: 0 when every step happened, else 1.

    Raises:
        StartupError: the system cannot be started.
    """
    console = Console(highlight=False, stderr=as_json, quiet=as_json)
    async with _system(settings, console) as system:
        timeline = Timeline(console)
        console.print("\n[bold]A masked call[/]\n")
        failure = ""
        session: dict[str, Any] = {}
        callbacks: list[dict[str, str]] = []
        try:
            session, callbacks = await play(system, timeline)
        except (StepFailed, SimulatorError) as error:
            failure = str(error)
        link = _workflow_url(system, session)
        if as_json:
            report: dict[str, Any] = {
                "ok": not failure,
                "failure": failure or None,
                "session": session,
                "timeline": [line.model_dump() for line in timeline.lines],
                "callbacks": callbacks,
                "temporal_ui_url": link,
            }
            print(json.dumps(report))  # noqa: T201 what --json is for
        elif failure:
            console.print(f"\n[bold red]The demo stopped:[/] {failure}")
        else:
            console.print("\n[bold green]Every step happened.[/]")
            if link is not None:
                console.print(f"The workflow's own story: {link}", soft_wrap=True)
                console.print("[dim]The Temporal UI runs while `make run` does; the session is kept for it.[/]")
    return EXIT_STEP_FAILED if failure else 0


@asynccontextmanager
async def _system(settings: Settings, console: Console) -> AsyncIterator[ReadySystem]:
    """The system that runs already with these settings, or one started for the occasion."""
    if not await is_healthy(settings.base_url):
        console.print("[bold]masking[/] is starting")
        async with running_system(settings, lambda step: console.print(f"  [dim]·[/] {step}")) as system:
            yield system
        return
    console.print(f"Using the system that runs at {settings.base_url}")
    if settings.keys is None and settings.keys_file is None:
        settings = settings.model_copy(update={"keys_file": settings.data.absolute() / "keys.json"})
    if not await is_healthy(settings.simulator_url):
        raise StartupError(f"the telephone simulator does not answer at {settings.simulator_url}: start it")
    yield ReadySystem(
        api_url=settings.base_url,
        account=demo_account(settings, load_keyring(settings)),
        simulator_url=settings.simulator_url,
        temporal_ui_url=temporal_ui_url(settings),
        pids={},
    )


def _workflow_url(system: ReadySystem, session: dict[str, Any]) -> str | None:
    if system.temporal_ui_url is None or not session:
        return None
    return f"{system.temporal_ui_url}/namespaces/default/workflows/{session_workflow_id(session['session_uuid'])}"
