"""An operator's look at what our commands otherwise hide: written down first."""

from __future__ import annotations

import getpass
import re

import psycopg

from masking.errors import MaskingError
from masking.operate.system import OperatedSystem
from masking.settings import load_settings
from masking.storage.looks import note_look

NUMBERS = "numbers of a session"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def operator() -> str:
    """Who uses the command line: `MASKING_OPERATOR`, else the login name.

    Raises:
        MaskingError: the machine does not tell.
    """
    try:
        return load_settings().operator or _CONTROL.sub("", getpass.getuser())[:64]
    except (OSError, KeyError, ImportError):
        raise MaskingError("this machine does not tell who you are: set MASKING_OPERATOR to your name") from None


async def operator_looks(
    system: OperatedSystem, what: str, *, session_uuid: str | None, how_many: int = 1, why: str | None = None
) -> None:
    """Write down that the operator looks at something. Show it only after this.

    Args:
        what: a few fixed words, such as `NUMBERS`.
        why: as the operator told it; no number, PIN or token.

    Raises:
        MaskingError: it cannot be written down, or it is not known who looks.
    """
    who = operator()
    try:
        async with system.database.transaction() as connection:
            await note_look(connection, who=who, what=what, session_uuid=session_uuid, how_many=how_many, why=why)
    except psycopg.Error as error:
        raise MaskingError(
            f"nothing is shown, since it cannot be written down who looked ({type(error).__name__})"
        ) from None
