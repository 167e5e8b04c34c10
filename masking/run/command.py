"""`masking run`: start, say how to use it, stay until told to stop."""

from __future__ import annotations

import asyncio
import json

from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax

from masking.lifeline import until_stopped
from masking.run.system import ReadySystem, running_system
from masking.settings import Settings

FIRST_PARTY, SECOND_PARTY = "+12025550101", "+12025550102"


async def run(settings: Settings, *, as_json: bool) -> None:
    """Run the whole system until told to stop.

    Args:
        as_json: print one JSON object when ready instead of words for a person.

    Raises:
        StartupError: something cannot start, or cannot be kept alive.
    """
    console = Console(stderr=as_json, highlight=False)
    stopped = asyncio.create_task(until_stopped())
    try:
        starting = asyncio.create_task(_run(settings, console, stopped, as_json=as_json))
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        await asyncio.gather(starting, return_exceptions=False)
    except asyncio.CancelledError:
        pass
    finally:
        stopped.cancel()
    console.print("Stopped.")


async def _run(settings: Settings, console: Console, stopped: asyncio.Task[None], *, as_json: bool) -> None:
    console.print("[bold]masking[/] is starting")
    try:
        async with running_system(settings, lambda step: console.print(f"  [dim]·[/] {step}")) as system:
            if as_json:
                print(json.dumps(ready_info(system)), flush=True)  # noqa: T201 what --json is for
            else:
                _show(console, system)
            assert system.failure is not None  # noqa: S101 we started it
            await asyncio.wait((system.failure, stopped), return_when=asyncio.FIRST_COMPLETED)
            console.print("Stopping …")
            if system.failure.done():
                system.failure.result()
    except asyncio.CancelledError:
        console.print("Stopping …")
        raise


def ready_info(system: ReadySystem) -> dict[str, object]:
    """What a program needs to use the running system."""
    return {
        "api_url": system.api_url,
        "auth_id": system.account.auth_id,
        "auth_token": system.account.auth_token,
        "simulator_url": system.simulator_url,
        "temporal_ui_url": system.temporal_ui_url,
        "codec_url": system.codec_url,
        "pids": dict(system.pids),
    }


def curl_example(system: ReadySystem) -> str:
    """A first session with curl."""
    account = system.account
    return (
        f"curl -u {account.auth_id}:{account.auth_token} \\\n"
        f"  {system.api_url}/v1/Account/{account.auth_id}/Masking/Session/ \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        f'  -d \'{{"first_party": "{FIRST_PARTY}", "second_party": "{SECOND_PARTY}"}}\''
    )


def python_example(system: ReadySystem) -> str:
    """A first session with the official SDK."""
    account = system.account
    return (
        "import plivo, plivo.rest.client as c\n"
        f'c.API_VOICE_BASE_URI = c.API_VOICE_BASE_URI_FALLBACK_1 = c.API_VOICE_BASE_URI_FALLBACK_2 = "'
        f'{system.api_url}/v1/Account"\n'
        f'client = plivo.RestClient("{account.auth_id}", "{account.auth_token}")\n'
        "print(client.masking_sessions.create_masking_session("
        f'first_party="{FIRST_PARTY}", second_party="{SECOND_PARTY}"))'
    )


def _show(console: Console, system: ReadySystem) -> None:
    facts = [
        ("API", f"{system.api_url}/v1/Account/{system.account.auth_id}/Masking/Session/"),
        ("auth id", system.account.auth_id),
        ("token", system.account.auth_token),
        ("Temporal UI", system.temporal_ui_url or "where TEMPORAL_ADDRESS points"),
        ("codec", system.codec_url or "not served"),
        ("phones", system.simulator_url),
    ]
    console.print(Panel("\n".join(f"{name:12}{value}" for name, value in facts), title="Ready", expand=False))
    for title, language, code in (
        ("A session with curl", "bash", curl_example(system)),
        ("A session with Plivo's own SDK: .venv/bin/python", "python", python_example(system)),
    ):
        console.print(f"\n[bold]{title}[/]")
        console.print(Syntax(code, language, background_color="default", word_wrap=False), soft_wrap=True)
    console.print("\nCtrl-C stops everything. Sessions are kept in the data folder.")
