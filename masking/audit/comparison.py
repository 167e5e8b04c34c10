"""What is stored against what the events give: field by field, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from masking.audit.contents import Settlement, StoredCorrection, StoredSession, VirtualNumber
from masking.domain.bill.charges import Bill, Charge, bill
from masking.domain.bill.corrections import corrected, correction
from masking.domain.bill.ledger import Kind, LedgerEntry, Sums, correction_entries, entries_of, sums_by_currency
from masking.domain.callbacks import Callback
from masking.domain.events import AnyCarrierEvent, Call
from masking.domain.model import Model
from masking.domain.session import Session
from masking.domain.terms import Terms

HIDDEN = "(not shown)"

ModelT = TypeVar("ModelT", bound=Model)


class Difference(NamedTuple):
    """A field that is stored with another value than the events give."""

    where: str
    stored: object
    recomputed: object

    def __str__(self) -> str:
        is_secret = ".pin." in self.where
        stored, recomputed = (HIDDEN if is_secret else _told(each) for each in (self.stored, self.recomputed))
        return f"{self.where} says {stored}, the events give {recomputed}"


def differences(where: str, stored: object, recomputed: object) -> Iterator[Difference]:
    """Every leaf that differs. Models are compared by their fields, money and times by their value."""
    if isinstance(stored, Model) and isinstance(recomputed, Model):
        yield from differences(where, stored.model_dump(), recomputed.model_dump())
    elif isinstance(stored, Mapping) and isinstance(recomputed, Mapping):
        for key in [*stored, *(key for key in recomputed if key not in stored)]:
            yield from differences(f"{where}.{key}", stored.get(key), recomputed.get(key))
    elif isinstance(stored, tuple | list) and isinstance(recomputed, tuple | list):
        for n in range(max(len(stored), len(recomputed))):
            yield from differences(
                f"{where}[{n}]", stored[n] if n < len(stored) else None, recomputed[n] if n < len(recomputed) else None
            )
    elif stored != recomputed:
        yield Difference(where, stored, recomputed)


def of_session(
    row: StoredSession, number: VirtualNumber | None, terms: Terms | None, stored: Session | None, replayed: Session
) -> list[Difference]:
    """The session's row, and what is sealed in it."""
    found = [
        *differences("the session", stored, replayed),
        *differences("the terms", terms, replayed.terms),
        *differences("the virtual number", number and number.number, replayed.virtual_number),
    ]
    charge = bill(replayed).calls
    columns: dict[str, Any] = {
        name: getattr(replayed, name)
        for name in (
            *("account_id", "subaccount_id", "created_at", "modified_at", "expires_at", "duration"),
            *("version", "revision", "settled_at"),
        )
    }
    columns["resumptions"] = len(replayed.resumed)
    columns |= {
        "phase": str(replayed.phase),
        "status": str(replayed.status),
        "total_call_count": charge.call_count,
        "total_call_amount": charge.amount,
        "total_call_billed_duration": charge.billed_duration,
    }
    for name, recomputed in columns.items():
        found += differences(f"the session's row, {name},", getattr(row, name), recomputed)
    return found


def of_settlement(stored: Settlement, replayed: Bill) -> list[Difference]:
    """The closed bill."""
    columns = {
        "account_id": replayed.account_id,
        "currency": replayed.currency,
        "total_call_count": replayed.calls.call_count,
        "total_call_amount": replayed.calls.amount,
        "total_call_billed_duration": replayed.calls.billed_duration,
        "session_amount": replayed.session_amount,
        "total_session_amount": replayed.total_amount,
        "duration": replayed.duration,
        "last_interaction_time": replayed.last_interaction_time,
        "settled_at": replayed.settled_at,
    }
    return [
        each
        for name, recomputed in columns.items()
        for each in differences(f"the bill's {name}", getattr(stored, name), recomputed)
    ]


def of_callbacks(stored: Mapping[str, Callback], replayed: Mapping[str, Callback]) -> list[Difference]:
    """What customers were to be told."""
    return _by_id("callback", stored, replayed, lambda _: "a callback")


def of_calls(stored: Mapping[str, Call], replayed: Session) -> list[Difference]:
    """Whom the switchboard connected with whom, against what the session heard of it.

    Of a session that its carrier masks, our switchboard connects nobody.
    """
    ours = replayed.interactions if replayed.carrier == "voice" else {}
    heard = {call_uuid: each.call for call_uuid, each in ours.items() if each.call.dialled}
    connected = {call_uuid: call for call_uuid, call in stored.items() if call.dialled}
    comparable = {uuid: call for uuid, call in heard.items() if uuid in connected or uuid not in stored}
    return _by_id("call", connected, comparable, lambda _: "a connected call")


def of_corrections(
    stored: Mapping[str, StoredCorrection], settled: Session, late: Sequence[AnyCarrierEvent]
) -> list[Difference]:
    """What late events added to the bill. `late` is in the order in which they were taken."""
    kept = {
        event_id: Charge(
            call_count=each.call_count,
            duration=each.duration,
            billed_duration=each.billed_duration,
            amount=each.amount,
        )
        for event_id, each in stored.items()
    }
    changes = ((event.event_id, correction(before, after)) for before, after, event in _one_by_one(settled, late))
    given = {event_id: change for event_id, change in changes if change}
    return _by_id("correction", kept, given, lambda charge: f"{charge.amount:f}")


def of_entries(stored: Sequence[LedgerEntry], settled: Session, late: Sequence[AnyCarrierEvent]) -> list[Difference]:
    """What was posted to the ledger. `late` is in the order in which it was taken.

    Of a bill that was closed before there was a ledger, this has sums, which are compared as such.
    """
    given = list(entries_of(settled))
    for before, after, event in _one_by_one(settled, late):
        given += correction_entries(before, after, event)
    if any(entry.kind is Kind.CHARGE and not entry.leg for entry in stored):
        charges = [sums_by_currency(each).get(settled.rate.currency, Sums()).calls for each in (stored, given)]
        return list(differences("the ledger's charges", *charges))
    there, due = ({entry.entry_id: entry for entry in each} for each in (stored, given))
    return _by_id("entry", there, due, lambda entry: entry.signed)


def _one_by_one(
    settled: Session, late: Sequence[AnyCarrierEvent]
) -> Iterator[tuple[Session, Session, AnyCarrierEvent]]:
    """The session before and after each late event."""
    for n, event in enumerate(late):
        before = corrected(settled, late[:n])
        yield before, corrected(before, [event]), event


def _by_id(
    what: str, stored: Mapping[str, ModelT], given: Mapping[str, ModelT], told: Callable[[ModelT], object]
) -> list[Difference]:
    """Field by field where both have it; where one lacks it, as `told` tells of the other."""
    found: list[Difference] = []
    for each_id in [*stored, *(each_id for each_id in given if each_id not in stored)]:
        where, kept, recomputed = f"{what} {each_id}", stored.get(each_id), given.get(each_id)
        if kept is not None and recomputed is not None:
            found += differences(where, kept, recomputed)
        else:
            found.append(Difference(where, *(None if each is None else told(each) for each in (kept, recomputed))))
    return found


def _told(value: object) -> str:
    match value:
        case None | "" | () | [] | {}:
            return "nothing"
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.isoformat()
        case str() if value.startswith(("http://", "https://")):
            return f"a URL {HIDDEN}"
        case dict() | list() | tuple():
            return "something"
        case _:
            return str(value)
