"""What others have a say in is shown to operators as it is, and does nothing to their terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from masking.command_line import printable
from masking.domain.timeline import Entry, Happened, Timeline
from masking.operate.timeline_lines import print_timeline
from tests.domain.conversation import at
from tests.domain.test_timeline import told, whole


def shown(cause: str) -> str:
    """What stands on the screen for a session in whose story this was told."""
    entry, out = Entry(at=at(1), what=Happened.LEFT, told=cause), io.StringIO()
    story: Timeline = told(whole()).model_copy(update={"entries": (entry,), "remarks": (cause,), "phase": cause})
    print_timeline(story, Console(file=out, force_terminal=True, width=200))
    return out.getvalue()


@pytest.mark.parametrize("cause", ["[/nothing]", "[bold red]Bill, closed: 0[/]", "[link=https://x.example]y[/link]"])
def test_markup_is_text(cause: str) -> None:
    assert shown(cause).count(cause) == 3


@pytest.mark.parametrize(
    ("cause", "written"),
    [
        ("\x1b[2J\x1b]52;c;aGFja2Vk\x07", "\\x1b[2J\\x1b]52;c;aGFja2Vk\\x07"),
        ("Busy\r\nRemark: all is well", "Busy\\r\\nRemark: all is well"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202ehidden", "\\u202ehidden"),
    ],
)
def test_what_steers_a_terminal_is_written_out(cause: str, written: str) -> None:
    assert shown(cause).count(written) == 3
    assert cause not in shown(cause)


def test_words_of_any_language_stay() -> None:
    assert printable("Заня́то, 話中 •••• 1") == "Заня́то, 話中 •••• 1"
