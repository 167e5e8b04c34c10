"""What PostgreSQL keeps of a session, as the records of a pack."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from masking.audit.contents import (
    CALLBACKS,
    DECISIONS,
    LATE,
    SESSION,
    Part,
    StoredCall,
    StoredCallback,
    StoredLate,
    StoredSession,
    StoredTry,
    VirtualNumber,
)
from masking.audit.pack import Record
from masking.contract import EVENTS
from masking.domain.callbacks import AnswerStart, Callback
from masking.domain.events import Call
from masking.domain.session import Session
from masking.domain.terms import Terms
from masking.privacy.session_cipher import SessionCipher
from masking.storage.evidence import Row, StoredEvidence


def stored_records(
    stored: StoredEvidence, seals: SessionCipher | None, opens: SessionCipher | None
) -> Iterator[Record]:
    """The records of everything but the history and the ledger.

    Args:
        seals: seals what is not sealed yet; None for a pack in the clear.
        opens: opens what is sealed, for a pack in the clear; None leaves it as it is.

    Raises:
        Unreadable: it cannot be opened.
    """

    def part(row: Row, column: str, model_type: type[Any]) -> Part:
        return Part.of(row[column], model_type, opens)

    row = stored.session
    session = StoredSession.model_validate(
        row
        | {
            "virtual_number": Part.sealing(VirtualNumber(number=row["virtual_number"]), seals),
            "terms": part(row, "sealed_terms", Terms),
            "session": part(row, "sealed_session", Session),
        }
    )
    yield Record(SESSION, "row", session.model_dump(mode="json"))
    for row in stored.calls:
        call = StoredCall.model_validate(row | {"call": part(row, "sealed_call", Call)})
        yield Record(DECISIONS, f"call {call.call_uuid}", call.model_dump(mode="json"))
    for row in stored.late:
        late = StoredLate.model_validate(row | {"event": part(row, "sealed_event", EVENTS[row["signal"]])})
        yield Record(LATE, f"event {late.event_id}", late.model_dump(mode="json"))
    tries = {
        callback_id: [StoredTry.model_validate(each | {"answer": part(each, "sealed_answer", AnswerStart)})
                      for each in of_one]
        for callback_id, of_one in groupby(stored.tries, key=lambda each: each["callback_id"])
    }  # fmt: skip
    for row in stored.callbacks:
        callback = StoredCallback.model_validate(
            row | {"callback": part(row, "sealed_callback", Callback), "tries": tries.get(row["callback_id"], [])}
        )
        yield Record(CALLBACKS, f"callback {callback.callback_id}", callback.model_dump(mode="json"))
