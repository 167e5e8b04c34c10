"""`masking demo`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from masking.contract import session_workflow_id
from masking.demo.story import Played, play
from masking.demo.system import system_in_use
from masking.demo.timeline import Timeline, what_stopped
from masking.run.system import ReadySystem
from masking.settings import Settings

EXIT_STEP_FAILED = 1


async def demo(settings: Settings, *, as_json: bool, picture: Path | None = None) -> int:
    """Play the demo. Returns the exit code: 0 when every step happened, else 1.

    Args:
        picture: where to draw the story as an SVG, if every step happened.

    Raises:
        StartupError: the system cannot be started.
    """
    console = Console(highlight=False, stderr=as_json, quiet=as_json)
    async with system_in_use(settings, console) as system:
        timeline = Timeline(console)
        console.print("\n[bold]A masked call[/]\n")
        played = Played()
        failure = await what_stopped(play(system, timeline, played))
        if picture is not None and not failure:
            await asyncio.to_thread(picture.write_text, timeline.svg("masking demo"))
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


def _workflow_url(system: ReadySystem, session: dict[str, Any]) -> str | None:
    if system.temporal_ui_url is None or not session:
        return None
    return f"{system.temporal_ui_url}/namespaces/default/workflows/{session_workflow_id(session['session_uuid'])}"
