"""`masking sessions overdue`: sessions that are over and whose bill stays open."""

from __future__ import annotations

from typing import Annotated

import typer

from masking.command_line import AsJson, say_some
from masking.operate.console import in_transaction
from masking.operate.known import account_must_be_known
from masking.operate.many import Account
from masking.operate.sessions import app
from masking.settings import load_settings
from masking.storage.database import Connection
from masking.storage.overdue import Overdue, overdue


@app.command(name="overdue")
def overdue_(
    account: Account = None,
    limit: Annotated[int, typer.Option(help="The oldest so many.", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List sessions whose time and calls are over for too long while their bill is open, oldest first.

    Their workflow waits for a worker, is stuck, or was lost: `masking sessions resume --dry-run` tells those apart.
    """

    async def find(connection: Connection) -> list[Overdue]:
        found = await overdue(connection, load_settings().closes_within, limit + 1, account)
        if not found:
            await account_must_be_known(connection, account)
        return found

    say_some("sessions", in_transaction(find), _line, "overdue", limit, as_json=as_json)


def _line(session: Overdue) -> str:
    return f"{session.due_at:%Y-%m-%d %H:%M:%S} UTC  {session.session_uuid}  {session.account}"
