"""Bringing a session's evidence together: its history from Temporal, the rest from PostgreSQL."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from masking.audit.contents import HISTORY
from masking.audit.history import resumes, start_in_payloads
from masking.audit.ledger import ledger_records
from masking.audit.pack import Code, Header, Record, written
from masking.audit.payloads import payloads_of, resealed
from masking.audit.signing import Signer, data_key_id
from masking.audit.stored import stored_records
from masking.contract import session_workflow_id
from masking.domain.session import REVISION
from masking.errors import MaskingError
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.payload_codec import EncryptingCodec
from masking.privacy.payload_keys import PayloadKey
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.database import Database
from masking.storage.evidence import StoredEvidence, read_evidence
from masking.storage.payload_keys import StoredPayloadKeys

ROOT = Path(__file__).parent.parent.parent
GIT_WITHIN_S = 2.0


class CannotExport(MaskingError):
    """There is no pack of this session, for a reason that the message tells."""


class Exported(NamedTuple):
    """A pack: its header, and its lines."""

    header: Header
    lines: Iterator[bytes]


async def export(
    client: Client, database: Database, keyring: Keyring, session_uuid: str, *, commit: str, is_open: bool = False
) -> Exported:
    """The pack of a session whose bill is closed, or that was refused at its opening.

    Args:
        commit: of the code that runs, see `code_commit`.
        is_open: leave nothing sealed. A session that was refused has no data key: there is only an open pack of it.

    Raises:
        CannotExport: it lives, was erased, is unknown, or Temporal does not have its history any more.
        RPCError: Temporal does not answer.
        KeysAway: PostgreSQL does not answer.
    """
    histories = await _histories(client, session_uuid)
    # Behind the end of the workflow nothing but callbacks' tries, late events and corrections is added.
    async with database.transaction() as connection:
        stored = await read_evidence(connection, session_uuid)
        ledger = await ledger_records(connection, session_uuid)
    if stored is None and not is_open:
        raise CannotExport(
            "the database has no row of it, and so no key to seal a pack under; so it is with one that was refused"
            " at its opening, of which --open writes a pack in the clear"
        )
    codec = EncryptingCodec(keyring, StoredPayloadKeys(database, keyring))
    try:
        cipher = _cipher(stored, keyring, session_uuid)
        if stored is not None and stored.session["resumptions"]:
            histories = await with_lost(client, codec, session_uuid, histories)
        keys = await codec.keys_of(payload for run in histories for event in run for payload in payloads_of(event))
        seals, opens = (None, cipher) if is_open else (cipher, None)
        rows = stored_records(stored, seals, opens) if stored is not None else iter(())
        # Whoever else uses this event loop is not to wait for so much arithmetic.
        records = await asyncio.to_thread(lambda: [*_history_records(histories, codec, keys, seals), *rows, *ledger])
    except Unreadable as error:
        raise CannotExport(f"it cannot be read: {error}") from None
    signer = Signer(keyring)
    header = Header(
        session_uuid=session_uuid,
        exported_at=datetime.now(UTC),
        is_open=is_open,
        data_key_id="" if is_open or cipher is None else data_key_id(cipher.data_key),
        public_key=signer.public_key,
        code=Code(version=version("masking"), commit=commit, revision=REVISION),
        runs=len(histories),
    )
    return Exported(header, written(header, records, signer.sign))


def write_whole(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file that is there whole or not at all, readable by its owner only. One that exists is replaced."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def code_commit(build_id: str | None) -> str:
    """The commit of the code that runs: what the settings call its build, or what git knows; empty if nobody does."""
    return build_id or _git_commit()


@functools.cache
def _git_commit() -> str:
    if not (ROOT / ".git").exists():
        return ""
    try:
        done = subprocess.run(  # noqa: S603 fixed words
            ["git", "-C", str(ROOT), "rev-parse", "HEAD"],  # noqa: S607 wherever git is
            capture_output=True,
            text=True,
            timeout=GIT_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cipher(stored: StoredEvidence | None, keyring: Keyring, session_uuid: str) -> SessionCipher | None:
    if stored is None:
        return None
    key_id, wrapped = stored.session["key_id"], stored.session["wrapped_key"]
    if not key_id:
        raise CannotExport("it was erased: its key is destroyed, and nothing of it can be read any more")
    return unwrapped(keyring, session_uuid, key_id, wrapped)


async def _histories(client: Client, session_uuid: str) -> list[list[HistoryEvent]]:
    """The events of every run of a session's workflow, the first run first."""
    workflow_id = session_workflow_id(session_uuid)
    try:
        described = await client.get_workflow_handle(workflow_id).describe()
        if described.status is WorkflowExecutionStatus.RUNNING:
            raise CannotExport("it lives, or its bill is not closed yet: expire it, and wait for its bill")
        histories = await chain(client, session_uuid, described.run_id)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise CannotExport(
            "Temporal has no history of it: there is no such session, or Temporal deleted it; look in the archive"
        ) from None
    return histories


async def chain(client: Client, session_uuid: str, run_id: str) -> list[list[HistoryEvent]]:
    """The events of a run and of those before it, as long as each handed over to the next."""
    histories: list[list[HistoryEvent]] = []
    while run_id:
        handle = client.get_workflow_handle(session_workflow_id(session_uuid), run_id=run_id)
        histories.insert(0, list((await handle.fetch_history()).events))
        run_id = histories[0][0].workflow_execution_started_event_attributes.continued_execution_run_id
    return histories


async def with_lost(
    client: Client, codec: EncryptingCodec, session_uuid: str, histories: list[list[HistoryEvent]]
) -> list[list[HistoryEvent]]:
    """The histories with those of the runs that were lost before them, as far as Temporal still has these."""
    while True:
        payloads = histories[0][0].workflow_execution_started_event_attributes.input.payloads
        lost = resumes(start_in_payloads(await codec.decode(payloads)))
        if not lost:
            return histories
        try:
            histories = [*await chain(client, session_uuid, lost), *histories]
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return histories


def _history_records(
    histories: list[list[HistoryEvent]],
    codec: EncryptingCodec,
    keys: Mapping[str, PayloadKey],
    seals: SessionCipher | None,
) -> Iterator[Record]:
    for number, events in enumerate(histories, start=1):
        run_id = events[0].workflow_execution_started_event_attributes.original_execution_run_id
        run = f"run {number}, " if len(histories) > 1 else ""
        for event in events:
            body = {"run": number, "run_id": run_id, "event": resealed(event, codec, keys, seals)}
            kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower().replace("_", " ")
            yield Record(HISTORY, f"{run}event {event.event_id} ({kind})", body)
