"""Opening what a pack holds besides the history, and sorting it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from masking.audit.contents import (
    CALLBACKS,
    CORRECTION,
    DECISIONS,
    ENTRY,
    HISTORY,
    LATE,
    LEDGER,
    SESSION,
    SETTLEMENT,
    Part,
    Settlement,
    StoredCall,
    StoredCallback,
    StoredCorrection,
    StoredLate,
    StoredSession,
    VirtualNumber,
)
from masking.audit.pack import Record
from masking.contract import EVENTS
from masking.domain.bill.ledger import LedgerEntry
from masking.domain.callbacks import AnswerStart, Callback
from masking.domain.events import AnyCarrierEvent, Call
from masking.domain.model import Model
from masking.domain.session import Session
from masking.domain.terms import Terms
from masking.errors import MaskingError
from masking.privacy.session_cipher import SessionCipher

ModelT = TypeVar("ModelT", bound=Model)


class Contents(NamedTuple):
    """A pack's records but for the history, by what they are, opened.

    Attributes:
        row: None for a session that was refused at its opening; then nothing else is there either.
        late: in the order in which they were taken.
        answers: how customers' endpoints answered, by the callback's id; a line for each try.
        unknown: sections and records that newer code wrote.
    """

    row: StoredSession | None
    number: VirtualNumber | None
    terms: Terms | None
    session: Session | None
    calls: list[tuple[StoredCall, Call | None]]
    late: list[AnyCarrierEvent]
    callbacks: list[tuple[StoredCallback, Callback | None]]
    answers: dict[str, list[str | None]]
    settlement: Settlement | None
    corrections: list[StoredCorrection]
    entries: list[LedgerEntry]
    unknown: list[str]


class WrongContents(MaskingError):
    """A record is not what its section says; the message names it."""


def opened(records: Iterable[Record], cipher: SessionCipher | None) -> Contents:
    """What records hold.

    Args:
        cipher: the session's; None where nothing is sealed.

    Raises:
        Unreadable: something is under another key.
        WrongContents: a record is not what it should be.
    """
    of: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        of[record.section].append(record)
    rows = [_as(StoredSession, record) for record in of[SESSION]]
    settlements = [_as(Settlement, record) for record in of[LEDGER] if record.record == SETTLEMENT]
    corrections = [_as(StoredCorrection, each) for each in of[LEDGER] if each.record.startswith(f"{CORRECTION} ")]
    entries = [_as(LedgerEntry, each) for each in of[LEDGER] if each.record.startswith(f"{ENTRY} ")]
    if len(rows) > 1 or len(settlements) > 1:
        raise WrongContents("there is more than one row of the session, or more than one bill")
    callbacks = [_as(StoredCallback, record) for record in of[CALLBACKS]]
    calls = [_as(StoredCall, record) for record in of[DECISIONS]]
    late = [_late(_as(StoredLate, record), cipher) for record in of[LATE]]
    unknown = {section for section in of if section not in _SECTIONS}
    unknown |= {each.record for each in of[LEDGER] if each.record.split(" ")[0] not in (SETTLEMENT, CORRECTION, ENTRY)}
    row = next(iter(rows), None)
    return Contents(
        row=row,
        number=row.virtual_number.opened(VirtualNumber, cipher) if row else None,
        terms=row.terms.opened(Terms, cipher) if row else None,
        session=row.session.opened(Session, cipher) if row else None,
        calls=[(each, each.call.opened(Call, cipher)) for each in calls],
        late=[event for event in late if event is not None],
        callbacks=[(each, each.callback.opened(Callback, cipher)) for each in callbacks],
        answers={each.callback_id: [_answer(tried.answer, cipher) for tried in each.tries] for each in callbacks},
        settlement=next(iter(settlements), None),
        corrections=corrections,
        entries=entries,
        unknown=sorted(unknown),
    )


_SECTIONS = (HISTORY, SESSION, DECISIONS, LATE, CALLBACKS, LEDGER)


def _late(each: StoredLate, cipher: SessionCipher | None) -> AnyCarrierEvent | None:
    if each.signal not in EVENTS:
        raise WrongContents(f"late event {each.event_id} is of a kind that this code does not know")
    return each.event.opened(EVENTS[each.signal], cipher)


def _answer(part: Part, cipher: SessionCipher | None) -> str | None:
    answer = part.opened(AnswerStart, cipher)
    return None if answer is None else answer.text


def _as(model_type: type[ModelT], record: Record) -> ModelT:
    try:
        return model_type.model_validate(record.body)
    except ValidationError:
        raise WrongContents(f"{record.section} {record.record} is not of the form of its section") from None
