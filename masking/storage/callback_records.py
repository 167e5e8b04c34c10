"""Callbacks as operators see them: what became of each, and sending them anew."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from masking.domain.callbacks import AnswerStart, Callback, Kind
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.accounts import Principal
from masking.storage.batches import Batch, batch
from masking.storage.database import Connection

State = Literal["pending", "delivered", "dead"]


class CallbackRecord(NamedTuple):
    """A callback and what became of it, without its content.

    Attributes:
        kind, sequence: which of the session's two sequences it counts in, and where.
        attempts: tries since it arose, or since it was last replayed.
        last_outcome: of the newest try, in a few words; empty before the first.
        due_at: when it is tried next, if it is pending.
    """

    callback_id: str
    session_uuid: str
    kind: Kind
    sequence: int
    state: State
    attempts: int
    last_outcome: str
    created_at: datetime
    due_at: datetime | None
    delivered_at: datetime | None


_COLUMNS = (
    "callback_id, session_uuid, kind, sequence, state, attempts, last_outcome, created_at,"
    " CASE WHEN state = 'pending' THEN due_at END AS due_at, delivered_at"
)


class Chosen(NamedTuple):
    """Which callbacks: those that all of this is true of. At least an id, a session or a state is given.

    Attributes:
        from_sequence: the first of its sequence; None for the first there is.
        owner: whose; a main account's are its subaccounts' too. None for an operator.
    """

    callback_ids: Sequence[str] | None = None
    session_uuid: str | None = None
    kind: Kind | None = None
    from_sequence: int | None = None
    state: State | None = None
    owner: Principal | None = None


_WHERE = (
    " WHERE (%(callback_ids)s::text[] IS NULL OR callback_id = ANY(%(callback_ids)s))"
    " AND (%(session_uuid)s::text IS NULL OR session_uuid = %(session_uuid)s)"
    " AND (%(kind)s::text IS NULL OR kind = %(kind)s)"
    " AND (%(from_sequence)s::integer IS NULL OR sequence >= %(from_sequence)s)"
    " AND (%(state)s::text IS NULL OR state = %(state)s)"
    " AND (%(account_id)s::text IS NULL OR EXISTS (SELECT FROM sessions s WHERE s.session_uuid = callbacks.session_uuid"
    "  AND s.account_id = %(account_id)s AND (%(subaccount_id)s::text IS NULL OR s.subaccount_id = %(subaccount_id)s)))"
)


def _parameters(chosen: Chosen) -> dict[str, object]:
    ids = None if chosen.callback_ids is None else list(chosen.callback_ids)
    account_id, subaccount_id = chosen.owner or (None, None)
    owner = {"account_id": account_id, "subaccount_id": subaccount_id}
    return chosen._asdict() | {"callback_ids": ids} | owner


async def find(connection: Connection, chosen: Chosen, limit: int, after: str | None = None) -> list[CallbackRecord]:
    """The oldest of them, in the order in which they arose.

    Args:
        after: the id of the callback behind which to begin; an unknown one ends the list.
    """
    async with connection.cursor(row_factory=class_row(CallbackRecord)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM callbacks{_WHERE}"  # noqa: S608 fixed fragments
            " AND (%(after)s::text IS NULL OR ordinal > (SELECT ordinal FROM callbacks WHERE callback_id = %(after)s))"
            " ORDER BY ordinal LIMIT %(limit)s",
            _parameters(chosen) | {"limit": limit, "after": after},
        )
        return await cursor.fetchall()


class Attempt(NamedTuple):
    """One try of a callback.

    Attributes:
        began_at: UTC, by the clock of the worker that sent it.
        outcome: in a few words.
        status: the answer's HTTP status; None without an answer.
        answer: the first bytes of the answer, as text; None where it said nothing or cannot be decrypted.
    """

    began_at: datetime
    duration_ms: int
    outcome: str
    status: int | None
    answer: str | None


class Shown(NamedTuple):
    """A callback with its content and its tries, oldest first. `callback` is None when it cannot be decrypted."""

    record: CallbackRecord
    callback: Callback | None
    attempts: Sequence[Attempt]


class _Sealed(NamedTuple):
    session_uuid: str
    sealed_callback: bytes
    key_id: str
    wrapped_key: bytes


class _SealedAttempt(NamedTuple):
    began_at: datetime
    duration_ms: int
    outcome: str
    status: int | None
    sealed_answer: bytes | None


async def show(connection: Connection, keyring: Keyring, callback_id: str, owner: Principal | None) -> Shown | None:
    """A callback and what came of each try; None when its owner has none with this id."""
    found = await find(connection, Chosen(callback_ids=[callback_id], owner=owner), 1)
    if not found:
        return None
    async with connection.cursor(row_factory=class_row(_Sealed)) as cursor:
        await cursor.execute(
            "SELECT c.session_uuid, c.sealed_callback, s.key_id, s.wrapped_key"
            " FROM callbacks c JOIN sessions s USING (session_uuid) WHERE c.callback_id = %s",
            (callback_id,),
        )
        (sealed,) = await cursor.fetchall()
    async with connection.cursor(row_factory=class_row(_SealedAttempt)) as tries:
        await tries.execute(
            "SELECT began_at, duration_ms, outcome, status, sealed_answer FROM callback_attempts"
            " WHERE callback_id = %s ORDER BY began_at",
            (callback_id,),
        )
        attempts = await tries.fetchall()
    try:
        cipher = unwrapped(keyring, sealed.session_uuid, sealed.key_id, sealed.wrapped_key)
        callback = cipher.open(Callback, sealed.sealed_callback)
    except Unreadable:
        return Shown(found[0], None, [Attempt(*each[:-1], answer=None) for each in attempts])
    return Shown(found[0], callback, [_attempt(cipher, each) for each in attempts])


def _attempt(cipher: SessionCipher, row: _SealedAttempt) -> Attempt:
    answer = None
    if row.sealed_answer is not None:
        with suppress(Unreadable):
            answer = cipher.open(AnswerStart, row.sealed_answer).text
    return Attempt(*row[:-1], answer=answer)


_AGAIN = (
    "UPDATE callbacks SET state = 'pending', attempts = 0, due_at = now(), replayed_at = now(), delivered_at = NULL"
)


async def replay(connection: Connection, chosen: Chosen) -> int:
    """Let them be sent anew, in their order, whether they were delivered or not. Returns how many.

    Each keeps its id and sequence number, and is tried for as long as a new one.
    """
    again = await connection.execute(f"{_AGAIN}{_WHERE}", _parameters(chosen))
    return again.rowcount


async def replay_some(connection: Connection, chosen: Chosen, after: int = 0) -> Batch:
    """The same of the first behind an ordinal: there may be more of those that were given up than fit a statement."""
    statement = (
        f"WITH chosen AS (SELECT callback_id, ordinal FROM callbacks{_WHERE} AND ordinal > %(after)s"  # noqa: S608 fixed fragments
        " ORDER BY ordinal LIMIT %(limit)s FOR UPDATE), done AS ("
        f"{_AGAIN} FROM chosen WHERE callbacks.callback_id = chosen.callback_id RETURNING chosen.ordinal)"
        " SELECT count(*), max(ordinal) FROM done"
    )
    return await batch(connection, statement, _parameters(chosen), after)
