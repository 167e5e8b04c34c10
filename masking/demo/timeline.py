"""What happened, when, and to whom: shown as it happens, and kept for `--json`."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import BaseModel
from rich.console import Console

Who = Literal["backend", "first party", "second party", "callback", "bill"]

_STYLES: dict[Who, str] = {
    "backend": "bold cyan",
    "first party": "bold green",
    "second party": "bold magenta",
    "callback": "dim",
    "bill": "bold yellow",
}


class StepFailed(Exception):
    """Something that the demo promises did not happen; the message says what."""


class Line(BaseModel):
    """Something that happened. `at` counts seconds from the demo's first step."""

    at: float
    who: Who
    what: str


class Timeline:
    """The lines so far.

    Args:
        console: where each line is shown as it happens; None to show nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self.lines: list[Line] = []
        self._console = console
        self._began = time.monotonic()

    def add(self, who: Who, what: str) -> None:
        """Something happened now."""
        line = Line(at=round(time.monotonic() - self._began, 2), who=who, what=what)
        self.lines.append(line)
        if self._console is not None:
            style = _STYLES[who]
            words = f"[dim]{what}[/]" if who == "callback" else what
            self._console.print(f"  [dim]{line.at:6.2f} s[/]  [{style}]{who:>12}[/]  {words}", soft_wrap=True)


def check(promise: bool, otherwise: str) -> None:
    """Fail the demo unless a promise was kept."""
    if not promise:
        raise StepFailed(otherwise)
