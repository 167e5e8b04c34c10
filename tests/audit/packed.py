"""Packs of golden histories, with the rows that a database would hold of them."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from masking.audit.contents import (
    CALLBACKS,
    DECISIONS,
    HISTORY,
    LEDGER,
    SESSION,
    Part,
    Settlement,
    StoredCall,
    StoredCallback,
    StoredSession,
    StoredTry,
    VirtualNumber,
)
from masking.audit.keys import Keys
from masking.audit.pack import Code, Header, Pack, Record, read, written
from masking.audit.payloads import resealed, unsealed
from masking.audit.replay import Replayed, replay
from masking.audit.signing import Signer, data_key_id
from masking.domain.bill.charges import bill
from masking.domain.bill.ledger import entries_of
from masking.domain.model import Model
from masking.privacy.payload_codec import EncryptingCodec
from masking.privacy.session_cipher import SessionCipher
from masking.storage.ledger import PostedEntry
from tests.histories import KEYRING

FOLDER = Path(__file__).parent.parent / "histories"
DATA_KEY = b"d" * 32
SIGNER = Signer(KEYRING)
KEYS = Keys(data_key=DATA_KEY, signer=SIGNER.public_key)

Change = Callable[[list[Record]], list[Record]]


def files_of(name: str) -> list[Path]:
    """The runs of a recorded session, in their order."""
    return sorted([FOLDER / f"{name}.json", *FOLDER.glob(f"{name}-run*.json")], key=lambda file: (len(file.stem), file))


class Recorded:
    """A recorded session, and the records of its pack."""

    def __init__(
        self, uuid: str, cipher: SessionCipher, records: list[Record], events: list[list[HistoryEvent]]
    ) -> None:
        self.uuid, self.cipher, self.records, self.events, self.runs = uuid, cipher, records, events, len(events)

    def content(self, change: Change = lambda records: records, **header: object) -> bytes:
        """The file, after `change` was made to its records before they were signed."""
        told = Header(
            session_uuid=self.uuid,
            exported_at=datetime(2026, 11, 23, 14, tzinfo=UTC),
            is_open=False,
            data_key_id=data_key_id(DATA_KEY),
            public_key=SIGNER.public_key,
            code=Code(version="0.1.0", commit="abc", revision=2),
            runs=self.runs,
        ).model_copy(update=header)
        return b"".join(written(told, change(list(self.records)), SIGNER.sign))

    def pack(self, change: Change = lambda records: records, **header: object) -> Pack:
        """The same, read."""
        return read(io.BytesIO(self.content(change, **header)))


@functools.cache
def _histories(name: str) -> tuple[str, list[list[HistoryEvent]]]:
    histories = [WorkflowHistory.from_json("", file.read_text()).events for file in files_of(name)]
    workflow_id = histories[0][0].workflow_execution_started_event_attributes.workflow_id
    return workflow_id.removeprefix("session-"), [list(events) for events in histories]


async def recorded(name: str) -> Recorded:
    """A golden history as the database of its day would have it exported."""
    uuid, histories = _histories(name)
    cipher, codec = SessionCipher(uuid, DATA_KEY), EncryptingCodec(KEYRING)
    records, runs = [], []
    for number, events in enumerate(histories, start=1):
        run_id = events[0].workflow_execution_started_event_attributes.original_execution_run_id
        bodies = [resealed(event, codec, {}, cipher) for event in events]
        runs.append([unsealed(body, cipher) for body in bodies])
        records += [
            Record(HISTORY, f"event {body['eventId']}", {"run": number, "run_id": run_id, "event": body})
            for body in bodies
        ]
    return Recorded(uuid, cipher, [*records, *_rows(await replay(uuid, runs), cipher)], runs)


def _rows(replayed: Replayed, cipher: SessionCipher) -> list[Record]:
    session = replayed.session
    if session is None or replayed.bill is None:
        return []

    def part(model: Model) -> Part:
        return Part.sealing(model, cipher)

    totals = bill(session)
    plain = {name: getattr(session, name) for name in ("duration", "status", "phase")} | dict(session)
    plain["resumptions"] = len(session.resumed)
    charge = {
        "total_call_count": totals.calls.call_count,
        "total_call_amount": totals.calls.amount,
        "total_call_billed_duration": totals.calls.billed_duration,
    }
    number = part(VirtualNumber(number=session.virtual_number))
    sealed = {"terms": part(session.terms), "session": part(session), "virtual_number": number}
    row = StoredSession.model_validate(plain | charge | sealed)
    records = [Record(SESSION, "row", row.model_dump(mode="json"))]
    for each in session.conversations:
        call = StoredCall(
            call_uuid=each.call.call_uuid, decision="Connect", reason=each.call.reason, started_at=each.first_seen_at,
            must_end_by=each.first_seen_at, ended_at=each.ended_at, call=part(each.call),
        )  # fmt: skip
        records.append(Record(DECISIONS, f"call {call.call_uuid}", call.model_dump(mode="json")))
    for told in replayed.callbacks.values():
        a_try = StoredTry(began_at=told.at, duration_ms=12, outcome="200", status=200, answer=Part())
        callback = StoredCallback(
            callback_id=told.callback_id, kind=told.kind, sequence=told.sequence, state="delivered", attempts=1,
            last_outcome="200", created_at=told.at, delivered_at=told.at, callback=part(told), tries=(a_try,),
        )  # fmt: skip
        records.append(Record(CALLBACKS, f"callback {told.callback_id}", callback.model_dump(mode="json")))
    settlement = Settlement.model_validate(
        dict(totals) | charge | {"session_amount": totals.session_amount, "total_session_amount": totals.total_amount}
    )
    records.append(Record(LEDGER, "settlement", settlement.model_dump(mode="json")))
    for entry in entries_of(session):
        posted = PostedEntry(**dict(entry), posted_at=settlement.settled_at)
        records.append(Record(LEDGER, f"entry {entry.entry_id}", posted.model_dump(mode="json")))
    return records
