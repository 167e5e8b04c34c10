"""What operators name on the command line: sessions, accounts, moments; in whichever letters they write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
AUTH_ID = re.compile("(MA|SA)[A-Z0-9]{18}")
"""As they are stored."""


def session_id(written: str) -> str:
    """A session's id, or what begins with one, as a callback's does, as it is stored: in small letters."""
    text = written.strip()
    found = UUID.match(text.lower())
    return found[0] + text[found.end() :] if found else text


def auth_id(written: str) -> str:
    """An account's auth id as it is stored: in capital letters."""
    text = written.strip()
    return text.upper() if AUTH_ID.fullmatch(text.upper()) else text


def inventory_number(written: str) -> str:
    """A number of ours as the inventory has it: with its plus sign, and without what stands between its digits."""
    text = re.sub(r"[\s().-]", "", written)
    return f"+{text.removeprefix('+')}" if re.fullmatch(r"\+?[0-9]{5,15}", text) else written


def moment(written: str) -> datetime:
    """A moment in ISO 8601; UTC where it names no offset. A date alone is its midnight.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        told = datetime.fromisoformat(written.strip())
        return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter("not a moment in ISO 8601, such as 2026-11-23T14:03:07Z") from None


Session = Annotated[str, typer.Argument(help="The session's id.", metavar="SESSION", parser=session_id)]
Sessions = Annotated[
    list[str] | None, typer.Argument(help="Ids of sessions.", metavar="[SESSION]...", parser=session_id)
]
OfSession = Annotated[
    str | None, typer.Option("--session", help="Only of this session.", metavar="UUID", parser=session_id)
]
AuthId = Annotated[str, typer.Argument(help="The account's auth id, MA… or SA….", metavar="AUTH_ID", parser=auth_id)]
