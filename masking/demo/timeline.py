"""What happened, when, and to whom: shown as it happens, and kept for `--json`."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

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

    def add(self, who: Who, what: str, strong: str = "") -> None:
        """Something happened now.

        Args:
            strong: the words of `what` that are to be seen first.
        """
        line = Line(at=round(time.monotonic() - self._began, 2), who=who, what=what)
        self.lines.append(line)
        if self._console is not None:
            words = Text(what, style="dim" if who == "callback" else "")
            words.highlight_words([strong] if strong else [], "bold")
            when, whose = Text(f"  {line.at:6.2f} s  ", style="dim"), Text(f"{who:>12}", style=_STYLES[who])
            self._console.print(Text.assemble(when, whose, "  ", words), soft_wrap=True)


def check(promise: bool, otherwise: str) -> None:
    """Fail the demo unless a promise was kept."""
    if not promise:
        raise StepFailed(otherwise)
