"""What happened, when, and to whom: shown as it happens, and kept for `--json`."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Awaitable

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from masking.errors import MaskingError

WIDE = 120
"""Columns of a picture."""

_STYLES = {
    "backend": "bold cyan",
    "first party": "bold green",
    "second party": "bold magenta",
    "ride": "bold cyan",
    "rider": "bold green",
    "driver": "bold magenta",
    "delivery": "bold cyan",
    "courier": "bold green",
    "customer": "bold magenta",
    "callback": "dim",
    "bill": "bold yellow",
}


class StepFailed(Exception):
    """Something that the demo promises did not happen; the message says what."""


class Line(BaseModel):
    """Something that happened. `at` counts seconds from the demo's first step."""

    at: float
    who: str
    what: str


class Timeline:
    """The lines so far.

    Args:
        console: where each line is shown as it happens; None to show nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self.lines: list[Line] = []
        self._strong: list[str] = []
        self._console = console
        self._began = time.monotonic()

    def add(self, who: str, what: str, strong: str = "") -> None:
        """Something happened now.

        Args:
            strong: the words of `what` that are to be seen first.
        """
        line = Line(at=round(time.monotonic() - self._began, 2), who=who, what=what)
        self.lines.append(line)
        self._strong.append(strong)
        if self._console is not None:
            self._console.print(_drawn(line, strong), soft_wrap=True)

    def svg(self, title: str) -> str:
        """The lines so far as a picture, as a terminal shows them."""
        console = Console(record=True, file=io.StringIO(), width=WIDE, highlight=False)
        for line, strong in zip(self.lines, self._strong, strict=True):
            console.print(_drawn(line, strong), soft_wrap=True)
        drawn = console.export_svg(title=title)
        # A picture in a page loads no fonts from elsewhere; without their names it shows the reader's own.
        return re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", drawn, flags=re.DOTALL)


def _drawn(line: Line, strong: str) -> Text:
    words = Text(line.what, style="dim" if line.who == "callback" else "")
    if strong:
        words.highlight_words([strong], "bold")
    when = Text(f"  {line.at:6.2f} s  ", style="dim")
    return Text.assemble(when, Text(f"{line.who:>12}", style=_STYLES.get(line.who, "bold")), "  ", words)


async def what_stopped(story: Awaitable[object]) -> str:
    """Play a story. Returns what stopped it, in words; nothing when every step happened."""
    try:
        await story
    except (StepFailed, MaskingError) as error:
        return str(error)
    except Exception as error:
        # Whatever it is, a step did not happen, and a report tells how far the story went.
        return f"{type(error).__name__}: {error}"
    return ""


def check(promise: bool, otherwise: str) -> None:
    """Fail the demo unless a promise was kept."""
    if not promise:
        raise StepFailed(otherwise)
