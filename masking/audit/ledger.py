"""The money of a session, for its pack: the one place that knows what the ledger consists of."""

from __future__ import annotations

from masking.audit.contents import CORRECTION, ENTRY, LEDGER, SETTLEMENT, Settlement, StoredCorrection
from masking.audit.pack import Record
from masking.storage.corrections import corrections_of
from masking.storage.database import Connection
from masking.storage.evidence import settlement_row
from masking.storage.ledger import ledger_of


async def ledger_records(connection: Connection, session_uuid: str) -> list[Record]:
    """Everything about money that is stored of a session: its settlement, its corrections, the ledger's entries."""
    records = []
    if (settled := await settlement_row(connection, session_uuid)) is not None:
        told = Settlement.model_validate(settled)
        records.append(Record(LEDGER, SETTLEMENT, told.model_dump(mode="json")))
    for each in await corrections_of(connection, session_uuid):
        corrected = StoredCorrection.model_validate(each._asdict())
        records.append(Record(LEDGER, f"{CORRECTION} {each.event_id}", corrected.model_dump(mode="json")))
    for entry in await ledger_of(connection, session_uuid):
        records.append(Record(LEDGER, f"{ENTRY} {entry.entry_id}", entry.model_dump(mode="json")))
    return records
