"""`masking demo`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

from masking.client import MaskingClient
from masking.contract import session_workflow_id
from masking.demo.story import Played, play
from masking.demo.timeline import StepFailed, Timeline
from masking.errors import MaskingError, StartupError
from masking.health import is_healthy
from masking.operate.system import operated_system
from masking.privacy.keyring import load_keyring
from masking.provision import DemoAccount, demo_account, provisioned_demo_account
from masking.run.system import ReadySystem, running_system, temporal_environment, temporal_ui_url
from masking.settings import Settings
from masking.temporal import connect

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
        failure, played = "", Played()
        try:
            await play(system, timeline, played)
        except (StepFailed, MaskingError) as error:
            failure = str(error)
        except Exception as error:
            # Whatever it is, a step did not happen, and the report tells how far the story went.
            failure = f"{type(error).__name__}: {error}"
        link = _workflow_url(system, played.session)
        if as_json:
            report: dict[str, Any] = {
                "ok": not failure,
                "failure": failure or None,
                "session": played.session,
                "timeline": [line.model_dump() for line in timeline.lines],
                "callbacks": played.callbacks,
                "temporal_ui_url": link,
            }
            print(json.dumps(report))  # noqa: T201 what --json is for
        elif failure:
            console.print(f"\n[bold red]The demo stopped:[/] {escape(failure)}")
            if link is not None:
                console.print(f"The workflow's own story: {link}", soft_wrap=True)
        else:
            console.print("\n[bold green]Every step happened.[/]")
            if link is not None:
                console.print(f"The workflow's own story: {link}", soft_wrap=True)
                console.print("[dim]The Temporal UI runs while `make run` does; the session is kept for it.[/]")
    return EXIT_STEP_FAILED if failure else 0


@asynccontextmanager
async def _system(settings: Settings, console: Console) -> AsyncIterator[ReadySystem]:
    """The system that runs already with these settings, or one started for the occasion."""
    if not await is_healthy(settings.gateway_url):
        console.print("[bold]masking[/] is starting")
        async with running_system(settings, lambda step: console.print(f"  [dim]·[/] {step}")) as system:
            yield system
        return
    console.print(f"Using the system that runs at {settings.gateway_url}")
    if not settings.names_keys:
        settings = settings.model_copy(update={"keys_file": settings.data.absolute() / "keys.json"})
    if not await is_healthy(settings.simulator_url):
        raise StartupError(f"the telephone simulator does not answer at {settings.simulator_url}: start it")
    yield ReadySystem(
        api_url=settings.base_url,
        account=await _account(settings),
        simulator_url=settings.simulator_url,
        temporal_ui_url=temporal_ui_url(settings),
        codec_url=None,
        sessions=MaskingClient(
            await connect(load_keyring(settings), environment=temporal_environment(settings)), lookup=settings.lookup
        ),
        pids={},
    )


async def _account(settings: Settings) -> DemoAccount:
    """The demo account's credentials, also after its token was rotated, where its database can be reached."""
    try:
        async with operated_system(settings) as system, system.database.transaction() as connection:
            return await provisioned_demo_account(settings, connection, system.keyring)
    except StartupError:
        return demo_account(settings, load_keyring(settings))


def _workflow_url(system: ReadySystem, session: dict[str, Any]) -> str | None:
    if system.temporal_ui_url is None or not session:
        return None
    return f"{system.temporal_ui_url}/namespaces/default/workflows/{session_workflow_id(session['session_uuid'])}"
